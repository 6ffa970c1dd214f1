//! Plots as SVG.
//!
//! Colours are [marks](Ink), not colours: the page's style sheet gives each its colour, in light and in dark.

use std::ops::Range;

use plotters::prelude::*;

use crate::error::{Error, Result};

/// Size in units of the drawing; the page scales it. Coordinates are rounded to units, so there are more of them than pixels.
const SIZE: (u32, u32) = (1200, 840);

const FONT: &str = "sans-serif";
const FONT_SIZE: u32 = 33;
const LINE_WIDTH: u32 = 5;
const DOT_RADIUS: u32 = 9;

/// What something is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Text and axes.
    Text,
    /// Lines of the grid.
    Grid,
    /// What curves are compared with.
    Reference,
    /// The curves of a plot, in order.
    First,
    Second,
    Third,
    Fourth,
}

impl Ink {
    /// A colour that stands for nothing but this mark; the style sheet knows it.
    const fn mark(self) -> RGBColor {
        RGBColor(1, 1, self as u8 + 1)
    }
}

/// One plot.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) range: Range<f64>,
}

/// Points that belong together, x ascending.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) ink: Ink,
    pub(super) shape: Shape,
    pub(super) points: Vec<(f64, f64)>,
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Line,
    Dashed,
    /// A line with a dot at each point.
    Dots,
    /// A bar from 0 to each point, so wide.
    Bars(f64),
}

impl Axis {
    /// From 0 to 1.
    pub(super) const fn share(label: &'static str) -> Self {
        Axis { label, range: 0.0..1.0 }
    }
}

impl Plot {
    /// The plot as an `svg` element.
    ///
    /// # Errors
    /// [`Error::Io`] if the plotting library fails, for which there is no known reason.
    pub(super) fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        self.draw(SVGBackend::with_string(&mut svg, SIZE)).map_err(|error| Error::Io {
            path: "report".into(),
            doing: "draw a plot",
            source: std::io::Error::other(error.to_string()),
        })?;
        Ok(svg)
    }

    fn draw<'a>(&self, backend: SVGBackend<'a>) -> Result<(), Box<dyn std::error::Error + 'a>> {
        let area = backend.into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .x_label_area_size(3 * FONT_SIZE)
            .y_label_area_size(4 * FONT_SIZE)
            .build_cartesian_2d(self.x.range.clone(), self.y.range.clone())?;
        let text = (FONT, FONT_SIZE).into_font().color(&Ink::Text.mark());
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(Ink::Grid.mark().stroke_width(2))
            .axis_style(Ink::Reference.mark().stroke_width(2))
            .label_style(text.clone())
            .axis_desc_style(text)
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        for series in &self.series {
            let (ink, points) = (series.ink.mark(), series.points.iter().copied());
            let line = ink.stroke_width(LINE_WIDTH);
            match series.shape {
                Shape::Line => drop(chart.draw_series(LineSeries::new(points, line))?),
                Shape::Dashed => drop(chart.draw_series(DashedLineSeries::new(points, 14, 10, line))?),
                Shape::Dots => {
                    chart.draw_series(LineSeries::new(points.clone(), line))?;
                    chart.draw_series(points.map(|point| Circle::new(point, DOT_RADIUS, ink.filled())))?;
                }
                Shape::Bars(width) => {
                    let bar =
                        |(x, y)| Rectangle::new([(x - width / 2.0, self.y.range.start), (x + width / 2.0, y)], ink.filled());
                    chart.draw_series(points.map(bar))?;
                }
            }
        }
        area.present()?;
        Ok(())
    }
}

/// A label of an axis: as few digits as tell it from its neighbours.
fn number(value: f64) -> String {
    // Ranges end at round numbers, which steps of a tenth miss by their rounding.
    let rounded = (value * 1e6).round() / 1e6;
    if rounded == 0.0 { "0".to_owned() } else { rounded.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_drawn_in_its_ink() {
        let points = vec![(0.0, 0.0), (0.5, 0.25), (1.0, 1.0)];
        let series = |ink, shape| Series { ink, shape, points: points.clone() };
        let plot = Plot {
            x: Axis::share("share of <x>"),
            y: Axis::share("y"),
            series: vec![
                series(Ink::First, Shape::Line),
                series(Ink::Second, Shape::Dots),
                series(Ink::Third, Shape::Bars(0.1)),
                series(Ink::Reference, Shape::Dashed),
            ],
        };
        let svg = plot.svg().unwrap();
        assert_eq!(svg, plot.svg().unwrap());
        assert_eq!((svg.matches("<svg").count(), svg.matches("<circle").count()), (1, 3));
        assert_eq!(svg.matches("<rect").count(), 3);
        for ink in [Ink::First, Ink::Second, Ink::Third, Ink::Reference, Ink::Text, Ink::Grid] {
            assert!(svg.contains(&format!("\"#0101{:02X}\"", ink as u8 + 1)), "{ink:?}");
        }
        assert!(svg.contains("share of &lt;x&gt;") && svg.contains("\n0.2\n"), "{svg}");
        assert_eq!([0.0, -0.0, 0.30000000000000004, 25.0].map(number), ["0", "0", "0.3", "25"]);
    }

    #[test]
    fn nothing_to_draw_is_drawn() {
        let nothing = Series { ink: Ink::First, shape: Shape::Line, points: Vec::new() };
        let plot = Plot { x: Axis::share("x"), y: Axis::share("y"), series: vec![nothing] };
        assert!(plot.svg().unwrap().ends_with("</svg>\n"));
    }
}

//! The page.

use std::fmt::Write as _;

use super::plot::{Axis, Ink, Plot, Series, Shape};
use super::{Interval, Mistake, Report};
use crate::error::Result;
use crate::tagger::Tagger;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Bins of the histogram of hidden units.
const ACTIVITY_BINS: usize = 20;

/// What a report is about, in words; any text will do.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// The model, such as the name of its file.
    pub model: &'a str,
    /// The data.
    pub data: &'a str,
    /// The name of a sample, given its index.
    pub sample: &'a dyn Fn(usize) -> String,
}

impl Report {
    /// The report as a page of HTML, for the tagger that it was made of. Text from models and data is escaped.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if the model's provenance cannot be read.
    pub fn html(&self, tagger: &Tagger, about: &About<'_>) -> Result<String> {
        let title = format!("{} on {}", about.model, about.data);
        let body = [
            self.head(tagger, about)?,
            self.measures(),
            self.plots()?,
            self.mistakes(tagger, about),
            self.table(tagger),
            provenance(tagger)?,
        ];
        Ok(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
             script-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            escape(&title),
            body.concat(),
        ))
    }

    fn head(&self, tagger: &Tagger, about: &About<'_>) -> Result<String> {
        let network = tagger.model().network();
        let units = network.shape.hidden() * network.shape.groups().len();
        let facts = [
            format!("{} items", count(self.evaluated.evaluation.summary.samples)),
            format!("{} tags", count(network.shape.tags())),
            format!("{} keywords", count(network.shape.keywords())),
            format!("{} hidden units, {}", count(units), network.activation),
            format!("signature {:016x}", tagger.signature()?),
        ];
        Ok(format!(
            "<header>\n<h1>{}</h1>\n<p class=\"on\">measured on {}</p>\n<p class=\"facts\">{}</p>\n</header>\n",
            escape(about.model),
            escape(about.data),
            facts.map(|fact| format!("<span>{}</span>", escape(&fact))).concat(),
        ))
    }

    fn measures(&self) -> String {
        let evaluation = &self.evaluated.evaluation;
        let (summary, intervals) = (&evaluation.summary, &self.intervals);
        let cards = [
            ("P@1", "the first tag is right", summary.p_at_1, intervals.p_at_1),
            ("P@3", "share of right ones among the first three", summary.p_at_3, intervals.p_at_3),
            ("P@5", "share of right ones among the first five", summary.p_at_5, intervals.p_at_5),
            ("macro-AUC", "mean over tags", evaluation.macro_auc.value, intervals.macro_auc),
            ("macro-AP", "mean over tags", evaluation.macro_ap.value, intervals.macro_ap),
            ("micro-F1", "all decisions together", Some(evaluation.micro_f1), intervals.micro_f1),
            ("macro-F1", "mean over tags", Some(evaluation.macro_f1), None),
            ("log-loss", "of a pair of item and tag", Some(summary.log_loss), None),
            ("ECE", "calibration error, 15 bins", Some(summary.ece), None),
        ];
        let mut html = "<section class=\"cards\" aria-label=\"Measures\">\n".to_owned();
        for (name, note, value, interval) in cards {
            let _ = writeln!(
                html,
                "<div class=\"card\"><h3>{name}</h3><p class=\"value\">{}</p><p class=\"interval\">{}</p><p class=\"note\">{note}</p></div>",
                measure(value),
                interval.map_or_else(String::new, |Interval { low, high }| format!("{low:.3} to {high:.3}")),
            );
        }
        html + "</section>\n<p class=\"aside\">Below a measure the middle 95 % of its values on 500 bootstrap resamples of the items.</p>\n"
    }

    fn plots(&self) -> Result<String> {
        let line = |ink, points: &[(f64, f64)]| Series { ink, shape: Shape::Line, points: points.to_vec() };
        let diagonal = Series { ink: Ink::Reference, shape: Shape::Dashed, points: vec![(0.0, 0.0), (1.0, 1.0)] };
        let curves = &self.curves;
        let both = ["all pairs of item and tag", "mean of the tags"];

        let roc = Plot {
            x: Axis::share("false positive rate"),
            y: Axis::share("true positive rate"),
            series: vec![diagonal.clone(), line(Ink::First, &curves.roc), line(Ink::Second, &curves.mean_roc)],
        };
        let precision_recall = Plot {
            x: Axis::share("recall"),
            y: Axis::share("precision"),
            series: vec![line(Ink::First, &curves.precision_recall), line(Ink::Second, &curves.mean_precision_recall)],
        };
        let by = |value: fn(&super::Operation) -> Option<f64>| {
            curves.thresholds.iter().filter_map(|at| Some((at.threshold, value(at)?))).collect::<Vec<_>>()
        };
        let thresholds = Plot {
            x: Axis::share("one threshold for all tags"),
            y: Axis::share("share"),
            series: vec![
                line(Ink::First, &by(|at| at.precision)),
                line(Ink::Second, &by(|at| at.recall)),
                line(Ink::Third, &by(|at| Some(at.micro_f1))),
                line(Ink::Fourth, &by(|at| Some(at.macro_f1))),
            ],
        };
        let bins: Vec<(f64, f64)> = curves.reliability.iter().map(|bin| (bin.confidence, bin.frequency)).collect();
        let reliability = Plot {
            x: Axis::share("confidence"),
            y: Axis::share("share that is right"),
            series: vec![diagonal, Series { ink: Ink::First, shape: Shape::Dots, points: bins }],
        };
        let mut html = "<section class=\"plots\" aria-label=\"Plots\">\n".to_owned();
        html += &figure("roc", "ROC", &roc, &both)?;
        html += &figure("precision-recall", "Precision and recall", &precision_recall, &both)?;
        html += &figure("thresholds", "Thresholds", &thresholds, &["precision", "recall", "micro-F1", "macro-F1"])?;
        let pairs: Vec<String> = curves.reliability.iter().map(|bin| count(bin.pairs)).collect();
        html += &figure("reliability", &format!("Reliability <small>pairs: {}</small>", pairs.join(" · ")), &reliability, &[])?;
        html += &self.learning_curve()?;
        html += &figure("activity", "Activity of hidden units", &self.activity_histogram(), &[])?;
        Ok(html + "</section>\n")
    }

    /// Loss and validation score, each from 0, the loss as a share of that of the first epoch.
    fn learning_curve(&self) -> Result<String> {
        let Some(learning) = self.learning.as_ref().filter(|learning| !learning.log_losses.is_empty()) else {
            return Ok(String::new());
        };
        let epochs = learning.log_losses.len();
        let series = |ink, values: &[f64]| {
            let points = (1..).zip(values).map(|(epoch, value)| (f64::from(epoch), *value)).collect();
            Series { ink, shape: Shape::Line, points }
        };
        let highest = |values: &[f64]| values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let scale = highest(&learning.log_losses);
        let losses: Vec<f64> = learning.log_losses.iter().map(|loss| loss / scale).collect();
        let mut drawn = vec![series(Ink::First, &losses), series(Ink::Second, &learning.valid_macro_aps)];
        if let Some(best) = learning.best_epoch {
            let best = f64::from(best);
            drawn.insert(0, Series { ink: Ink::Reference, shape: Shape::Dashed, points: vec![(best, 0.0), (best, 1.0)] });
        }
        let plot = Plot { x: Axis { label: "epoch", range: 0.0..epochs as f64 + 1.0 }, y: Axis::share("share"), series: drawn };
        let loss = format!("training loss, 1 = {scale:.4}");
        let legend: &[&str] =
            if learning.valid_macro_aps.is_empty() { &[&loss] } else { &[&loss, "macro-AP on validation items"] };
        figure("learning", "Learning curve", &plot, legend)
    }

    fn activity_histogram(&self) -> Plot {
        let mut bins = [0usize; ACTIVITY_BINS];
        for share in &self.activity {
            bins[((share * ACTIVITY_BINS as f64) as usize).min(ACTIVITY_BINS - 1)] += 1;
        }
        let width = 1.0 / ACTIVITY_BINS as f64;
        let points = (0..).zip(bins).map(|(i, units)| ((f64::from(i) + 0.5) * width, units as f64)).collect();
        let most = bins.into_iter().max().unwrap_or(0).max(1) as f64;
        Plot {
            x: Axis::share("share of items that a unit is active for"),
            y: Axis { label: "hidden units", range: 0.0..most * 1.05 },
            series: vec![Series { ink: Ink::First, shape: Shape::Bars(0.9 * width), points }],
        }
    }

    fn mistakes(&self, tagger: &Tagger, about: &About<'_>) -> String {
        let mut html = "<section class=\"mistakes\" aria-label=\"Mistakes\">\n".to_owned();
        for (id, title, mistakes) in [
            ("given", "Wrongly given, or missing in the data", &self.mistakes.given),
            ("missed", "Missed", &self.mistakes.missed),
        ] {
            let _ = writeln!(html, "<div id=\"{id}\">\n<h2>{title}</h2>");
            if mistakes.is_empty() {
                html += "<p class=\"aside\">None.</p>\n";
            }
            for mistake in mistakes {
                html += &self.mistake(mistake, tagger, about);
            }
            html += "</div>\n";
        }
        html + "</section>\n<p class=\"aside\">The worst first, at most two of a tag, with what their keywords add to the tag's logit.</p>\n"
    }

    fn mistake(&self, mistake: &Mistake, tagger: &Tagger, about: &About<'_>) -> String {
        let vocabulary = tagger.model().vocabulary();
        let mut keywords = String::new();
        for keyword in &mistake.keywords {
            let _ = write!(
                keywords,
                "<span class=\"{}\">{} <b>{:+.2}</b></span>",
                if keyword.contribution < 0.0 { "down" } else { "up" },
                escape(vocabulary.keyword(keyword.id).unwrap_or_default()),
                keyword.contribution,
            );
        }
        format!(
            "<article><p><b>{}</b> <span class=\"score\">{}</span> <span class=\"item\">{}</span></p><p class=\"keywords\">{keywords}</p></article>\n",
            escape(&tagger.tags()[mistake.tag].name),
            measure(Some(mistake.score.into())),
            escape(&(about.sample)(mistake.sample)),
        )
    }

    fn table(&self, tagger: &Tagger) -> String {
        let mut html = "<section>\n<h2>Tags</h2>\n<div class=\"scroll\"><table id=\"tags\">\n<thead><tr>".to_owned();
        for name in ["tag", "positives", "AUC", "AP", "precision", "recall", "F1", "threshold"] {
            let _ = write!(html, "<th scope=\"col\"><button type=\"button\">{name}</button></th>");
        }
        html += "</tr></thead>\n<tbody>\n";
        for (tag, measures) in tagger.tags().iter().zip(&self.evaluated.evaluation.tags) {
            let _ = write!(
                html,
                "<tr><th scope=\"row\">{}</th><td data-value=\"{}\">{}</td>",
                escape(&tag.name),
                measures.positives,
                count(measures.positives)
            );
            let shares = [measures.auc, measures.ap, measures.precision, measures.recall, Some(measures.f1)];
            for value in shares {
                match value {
                    Some(value) => {
                        let _ = write!(
                            html,
                            "<td class=\"share\" data-value=\"{value}\" style=\"--share:{value:.3}\">{value:.3}</td>"
                        );
                    }
                    None => html += "<td>–</td>",
                }
            }
            let _ = writeln!(html, "<td data-value=\"{0}\">{0:.3}</td></tr>", measures.threshold);
        }
        html + "</tbody>\n</table></div>\n</section>\n"
    }
}

/// How the model was made.
fn provenance(tagger: &Tagger) -> Result<String> {
    let provenance = tagger.model().provenance()?;
    let mut html = "<details>\n<summary>How the model was made</summary>\n<dl>\n".to_owned();
    for (key, value) in provenance.iter() {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(key), escape(value));
    }
    Ok(html + "</dl>\n</details>\n")
}

/// A plot with its title, which is HTML, and a legend of its curves in order.
fn figure(id: &str, title: &str, plot: &Plot, legend: &[&str]) -> Result<String> {
    let mut html = format!("<figure id=\"{id}\">\n<figcaption><h2>{title}</h2>");
    for (number, name) in legend.iter().enumerate() {
        let _ = write!(html, "<span class=\"key key{}\">{}</span>", number + 1, escape(name));
    }
    let _ = write!(html, "</figcaption>\n{}</figure>\n", plot.svg()?);
    Ok(html)
}

/// Text as HTML shows it, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn measure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| if value < 0.1 { format!("{value:.4}") } else { format!("{value:.3}") })
}

/// A number with a narrow space at every thousand.
fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202F}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<b a=\"x\" c='y'>&amp;"), "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;amp;");
        assert_eq!(escape("ünï 🦀"), "ünï 🦀");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([0usize, 999, 1_234_567].map(count), ["0", "999", "1\u{202F}234\u{202F}567"]);
        assert_eq!([None, Some(0.5), Some(0.01234)].map(measure), ["–", "0.500", "0.0123"]);
    }
}

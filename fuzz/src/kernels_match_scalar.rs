//! Every kernel, on slices of any size and content that its contract allows, at every level of the machine: the same bits. What does not
//! fit is refused at every level.

use super::parts::{activation, stored};
use super::source::{Source, bits};
use tagomatic::Level;
use tagomatic::aligned::{Block, as_floats, as_floats_mut, zeroed};
use tagomatic::ids::Sets;
use tagomatic::kernels::{
    ActiveLists, ActiveUnits, AdaGradStep, Answer, Answers, Bounds, Decay, Denominator, HiddenRows, Kernels, ListBuffers,
    LogLoss, LossInputs, LossKind, Panels, Product, ProximalSteps, Rates, Rows, RowsMut, Shrink, Squares, SteppedRows,
    TagMajor,
};
use tagomatic::network::Activation;
use tagomatic::weights::{MatrixBuf, WeightType};

/// What a kernel made, and whether it was willing.
type Outcome = (bool, Vec<u32>);

pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    match source.below(15) {
        0 => bags(&mut source),
        1 => weighted_bags(&mut source),
        2 => rows(&mut source),
        3 | 4 => panels(&mut source),
        5 => tag_major(&mut source),
        6 => activations(&mut source),
        7 => reaching(&mut source),
        8 => sigmoid(&mut source),
        9 => log_loss(&mut source),
        10 => adagrad(&mut source),
        11 => adagrad_bags(&mut source),
        12 => decay(&mut source),
        13 => proximal(&mut source),
        _ => products(&mut source),
    }
}

/// Runs at every level; the outcomes are those of the scalar level.
fn same(run: impl Fn(Kernels) -> Outcome) -> Outcome {
    let at = |level| run(Kernels::at(level).expect("a level of this machine"));
    let expected = at(Level::Scalar);
    for level in Level::available().skip(1) {
        assert_eq!(at(level), expected, "{level}");
    }
    expected
}

fn width(source: &mut Source<'_>) -> usize {
    source.below(10)
}

/// A length, rarely one less or more.
fn about(source: &mut Source<'_>, length: usize) -> usize {
    if source.rarely(16) { (length + source.below(3)).saturating_sub(1) } else { length }
}

fn matrix(source: &mut Source<'_>, blocks: usize, scales: usize) -> MatrixBuf {
    let weights = source.of(WeightType::ALL);
    let floats = match weights {
        // Sums of rows take what is not finite too; of narrow types there is nothing that is not.
        WeightType::F32 => source.blocks(blocks, Source::number),
        _ => source.blocks(blocks, Source::float),
    };
    stored(weights, floats, source.blocks(scales, Source::float))
}

/// The same, finite.
fn finite(source: &mut Source<'_>, blocks: usize, scales: usize) -> MatrixBuf {
    let weights = source.of(WeightType::ALL);
    let floats = source.blocks(blocks, Source::float);
    stored(weights, floats, source.blocks(scales, Source::float))
}

fn sets(source: &mut Source<'_>, bound: usize) -> (Vec<u32>, Vec<usize>) {
    let (mut ids, mut starts) = (Vec::new(), vec![0]);
    for _ in 0..source.below(6) {
        ids.extend(source.set(bound));
        starts.push(ids.len());
    }
    // Now and then sets that are none.
    if source.rarely(16) {
        let (at, id) = (source.below(ids.len()), source.any());
        ids.iter_mut().skip(at).take(1).for_each(|place| *place = id);
    }
    (ids, starts)
}

fn bags(source: &mut Source<'_>) {
    let (width, count) = (width(source), 1 + source.below(40));
    let (ids, starts) = sets(source, count);
    for level in Level::available() {
        let found = Kernels::at(level).expect("ours").sets(&ids, &starts).is_some();
        assert_eq!(found, Sets::new(&ids, &starts).is_some(), "{level}");
    }
    let Some(sets) = Sets::new(&ids, &starts) else { return };
    let (rows, scales) = (about(source, width * count), about(source, width));
    let table = matrix(source, rows, scales);
    let init = source.blocks(width, Source::number);
    let activation = activation(source);
    let length = about(source, width * sets.len());
    same(|kernels| {
        let mut out = vec![Block([7.0; 16]); length];
        let done = kernels.sum_bags(&table.view(), &init, activation, sets, &mut out);
        (done.is_ok(), bits(as_floats(&out)))
    });
}

fn weighted_bags(source: &mut Source<'_>) {
    let (width, count) = (width(source), 1 + source.below(40));
    let (ids, starts) = sets(source, count);
    let Some(sets) = Sets::new(&ids, &starts) else { return };
    let table = source.blocks(width * count, Source::number);
    let (init, factor) = (source.blocks(width, Source::number), source.number());
    let length = about(source, width * sets.len());
    let rows = Rows { blocks: &table, stride: width, first: source.below(2) };
    let (is_weighted, count) = (source.flag(), about(source, ids.len()));
    let weights: Vec<f32> = (0..count).map(|_| source.number()).collect();
    same(|kernels| {
        let mut out = vec![Block([7.0; 16]); length];
        let done = if is_weighted {
            kernels.sum_weighted_bags(rows, sets, &weights, &mut out)
        } else {
            kernels.sum_scaled_bags(rows, &init, sets, factor, &mut out)
        };
        (done.is_ok(), bits(as_floats(&out)))
    });
}

fn rows(source: &mut Source<'_>) {
    let (width, count) = (width(source), 1 + source.below(12));
    let (first, stride) = (source.below(3), width + source.below(3));
    let length = about(source, stride * count + first);
    let table = source.blocks(length, Source::number);
    let rows = Rows { blocks: &table, stride, first };
    let ids: Vec<u32> = (0..source.below(20)).map(|_| source.below(count + 1) as u32).collect();
    let weight_count = about(source, ids.len());
    let weights = as_floats(&source.blocks(2, Source::number))[..weight_count.min(32)].to_vec();
    let init = source.flag().then(|| source.blocks(width, Source::number));
    let x = source.blocks(width, Source::number);
    let dots = about(source, ids.len());
    same(|kernels| {
        let (mut sum, mut weighted) = (vec![Block([7.0; 16]); width], vec![Block([7.0; 16]); width]);
        let mut partial = vec![Block([7.0; 16]); dots];
        let done = [
            kernels.sum_rows(rows, init.as_deref(), &ids, &mut sum).is_ok(),
            kernels.weighted_sum_rows(rows, init.as_deref(), &ids, &weights, &mut weighted).is_ok(),
            kernels.dot_rows(rows, &ids, &x, &mut partial).is_ok(),
        ];
        let mut made = bits(as_floats(&sum));
        made.extend(bits(as_floats(&weighted)));
        made.extend(bits(as_floats(&partial)));
        made.extend(done.map(u32::from));
        (true, made)
    });
}

fn answer(source: &mut Source<'_>) -> Answer {
    source.of(&[Answer::Logit, Answer::Score { eps: 0.0 }, Answer::Score { eps: 1e-4 }, Answer::Score { eps: 0.499 }])
}

/// All forms of the output layer in panels make the same bits of finite weights.
fn panels(source: &mut Source<'_>) {
    let (units, width, items) = (source.below(40), width(source), source.below(14));
    let row = units.div_ceil(16);
    let (length, scales) = (about(source, units * width), about(source, width));
    let table = finite(source, length, scales);
    let panels = Panels { weights: &table.view(), units, width };
    let bias = source.blocks(width, Source::float);
    let (first, stride) = (source.below(2), row + source.below(2));
    let mut vectors = source.blocks(first + stride * items, Source::number);
    let off = 1 + source.below(5);
    let (mut starts, mut numbers, mut values) = (vec![0], Vec::new(), Vec::new());
    for item in 0..items {
        let start = (item * stride + first) * 16;
        let hidden = &mut as_floats_mut(&mut vectors)[start..start + row * 16];
        for (unit, h) in hidden.iter_mut().enumerate() {
            if unit >= units || unit % off == 1 {
                *h = 0.0;
            }
            if unit < units && *h != 0.0 {
                numbers.push(unit as u32);
                values.push(*h);
            }
        }
        starts.push(numbers.len());
    }
    let hidden = HiddenRows { blocks: &vectors, stride, first, items };
    let active = ActiveLists { starts: &starts, units: &numbers, values: &values };
    let tags = (width * 16).saturating_sub(source.below(17));
    let (answer, before, gap) = (answer(source), source.below(3), source.below(3));
    let room = about(source, before + items * (tags + gap));
    let form = |kernels: Kernels, form: usize| {
        let mut floats = vec![7.0; room];
        let mut answers = Answers { answer, floats: &mut floats, stride: tags + gap, first: before, tags };
        let done = match form {
            0 => kernels.panels_sparse(panels, active, &bias, &mut answers),
            1 => kernels.panels_dense(panels, hidden, &bias, &mut answers),
            _ => {
                let (starts, units, values) =
                    (&mut vec![9; items + 1], &mut vec![9; items * row * 16], &mut vec![9.0; items * row * 16]);
                kernels.panels(panels, hidden, ListBuffers { starts, units, values }, &bias, &mut answers)
            }
        };
        (done.is_ok(), bits(&floats))
    };
    let sparse = same(|kernels| form(kernels, 0));
    assert_eq!(same(|kernels| form(kernels, 1)), sparse);
    assert_eq!(same(|kernels| form(kernels, 2)), sparse);
}

fn tag_major(source: &mut Source<'_>) {
    let (width, items) = (source.below(4), source.below(5));
    let groups: Vec<usize> = (0..source.below(6)).map(|_| source.of(&[0, 1, 3, 7, 16, 33])).collect();
    let tags: usize = groups.iter().sum();
    let (length, scales) = (about(source, width * tags), about(source, tags.div_ceil(16)));
    let table = matrix(source, length, scales);
    let bias = source.blocks(tags.div_ceil(16), Source::number);
    let rows = TagMajor { weights: &table.view(), width, groups: &groups, bias: &as_floats(&bias)[..tags] };
    let (first, stride) = (source.below(2), width * groups.len() + source.below(2));
    let vectors = source.blocks(first + stride * items, Source::number);
    let hidden = HiddenRows { blocks: &vectors, stride, first, items };
    let (answer, before, gap) = (answer(source), source.below(3), source.below(3));
    let room = about(source, before + items * (tags + gap));
    same(|kernels| {
        let mut floats = vec![7.0; room];
        let mut answers = Answers { answer, floats: &mut floats, stride: tags + gap, first: before, tags };
        let done = kernels.tag_major(rows, hidden, &mut answers);
        (done.is_ok(), bits(&floats))
    });
}

fn activations(source: &mut Source<'_>) {
    let width = width(source);
    let activation = if source.rarely(2) { activation(source) } else { Activation::Relu };
    let (a, d) = (source.blocks(width, Source::number), source.blocks(width, Source::number));
    let length = about(source, width);
    same(|kernels| {
        let (mut h, mut d) = (vec![Block([7.0; 16]); length], d.clone());
        let done =
            kernels.activate(activation, &a, &mut h).and_then(|()| kernels.activate_backward(activation, &a, &h, &mut d));
        let (mut units, mut values) = (vec![0; h.len() * 16], vec![0.0; h.len() * 16]);
        let count = kernels.list_active(&h, ActiveUnits { units: &mut units, values: &mut values }).expect("room for all");
        let mut made = [bits(as_floats(&h)), bits(as_floats(&d)), bits(&values[..count])].concat();
        made.extend(&units[..count]);
        (done.is_ok(), made)
    });
}

fn reaching(source: &mut Source<'_>) {
    let length = source.below(150);
    let (scores, bounds) = (source.blocks(10, Source::number), source.blocks(10, Source::number));
    let (scores, each) = (&as_floats(&scores)[..length], &as_floats(&bounds)[..length]);
    let bounds = if source.flag() { Bounds::Each(each) } else { Bounds::Same(source.number()) };
    let (above, room) = (source.number(), length + source.below(3));
    same(|kernels| {
        let (mut units, mut values) = (vec![0; room], vec![0.0; room]);
        let list = ActiveUnits { units: &mut units, values: &mut values };
        let count = kernels.list_reaching(scores, bounds, above, list).expect("room for all");
        let mut made = bits(&values[..count]);
        made.extend(&units[..count]);
        (true, made)
    });
}

fn sigmoid(source: &mut Source<'_>) {
    let (width, cut, eps) = (width(source), source.below(16), source.of(&[0.0, 1e-45, 1e-4, 0.25, 0.499]));
    let x = source.blocks(width, Source::number);
    let length = (16 * width).saturating_sub(cut);
    let (_, made) = same(|kernels| {
        let mut p = as_floats(&x)[..length].to_vec();
        kernels.sigmoid(eps, &mut p);
        p.push(kernels.magnitude(&x));
        (true, bits(&p))
    });
    for (x, p) in as_floats(&x)[..length].iter().zip(made) {
        let p = f32::from_bits(p);
        assert!(if x.is_nan() { p.is_nan() } else { (eps..=1.0 - eps).contains(&p) }, "{x}: {p}");
    }
}

fn log_loss(source: &mut Source<'_>) {
    // Pairs that count 0 or 1 and some that do not, of many tags; or any.
    let few = source.flag();
    let width = if few { source.below(80) } else { width(source) };
    let logits = source.blocks(width, Source::number);
    let targets =
        source.blocks(width, |source| if few { source.of(&[0.0, 1.0]) } else { f32::from(source.any::<u8>()) / 255.0 });
    let one_in = |source: &mut Source<'_>| if source.below(200) == 0 { 2.5 } else { source.of(&[0.0, 1.0]) };
    let mut positive = |_| source.blocks(width, |source| if few { one_in(source) } else { source.float().abs() });
    let (weights, positive_weights) = (positive(0), positive(1));
    let offsets = source.blocks(width, Source::float);
    let eps: f32 = source.of(&[0.0, 1e-4, 0.25, 0.499]);
    let limit = ((1.0 - eps) / eps).ln();
    let kind = source.of(&[LossKind::ClampSte, LossKind::Logit, LossKind::ClampTorch]);
    let loss = LogLoss { kind, eps, limit, scale: source.float().abs() };
    let inputs = LossInputs { targets: &targets, weights: &weights, positive_weights: &positive_weights, offsets: &offsets };
    let length = about(source, width);
    same(|kernels| {
        let mut gradient = logits.clone();
        gradient.resize(length, Block([7.0; 16]));
        let value = kernels.log_loss(&loss, inputs, &mut gradient);
        let mut made = bits(as_floats(&gradient));
        let value = *value.as_ref().unwrap_or(&0.0);
        let value_bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        made.extend([value_bits as u32, (value_bits >> 32) as u32]);
        (length == width, made)
    });
}

fn denominator(source: &mut Source<'_>) -> Denominator {
    let epsilon = source.of(&[1e-10, 1e-6, 0.0, f32::MIN_POSITIVE, 1.0, 3e38]);
    if source.flag() { Denominator { inside: epsilon, outside: 0.0 } } else { Denominator { inside: 0.0, outside: epsilon } }
}

fn shrink(source: &mut Source<'_>) -> Shrink {
    Shrink { factor: f32::from(source.any::<u8>()) / 255.0, offset: source.float().abs() }
}

fn step(source: &mut Source<'_>) -> AdaGradStep {
    let decay = match source.below(3) {
        0 => Decay::None,
        1 => Decay::Shrink(shrink(source)),
        _ => Decay::Proximal { l1: source.float().abs(), l2: source.float().abs() },
    };
    AdaGradStep { lr: source.float().abs(), denominator: denominator(source), decay }
}

fn squares(source: &mut Source<'_>, blocks: usize) -> Vec<Block> {
    source.blocks(blocks, |source| source.number().abs())
}

fn adagrad(source: &mut Source<'_>) {
    let (width, step, kind) = (width(source), step(source), source.below(3));
    let length = about(source, width);
    let (gradients, weights) = (source.blocks(length, Source::number), source.blocks(width, Source::number));
    let length = about(source, width);
    let (sums, sum) = (squares(source, length), source.float().abs());
    same(|kernels| {
        let (mut weights, mut sums) = (weights.clone(), sums.clone());
        let squares = match kind {
            0 => Squares::Grow(&mut sums),
            1 => Squares::Each(&sums),
            _ => Squares::Same(sum),
        };
        let done = kernels.adagrad(&step, &gradients, &mut weights, squares);
        (done.is_ok(), [bits(as_floats(&weights)), bits(as_floats(&sums))].concat())
    });
}

fn adagrad_bags(source: &mut Source<'_>) {
    let (width, count, step) = (source.below(12), 1 + source.below(12), step(source));
    let first = source.of(&[0, 1, 100, u32::MAX - 20]);
    let terms = 1 + source.below(8);
    let (samples, starts) = sets(source, terms);
    let Some(sets) = Sets::new(&samples, &starts) else { return };
    let ids: Vec<u32> = (0..about(source, sets.len()))
        .map(|_| first.wrapping_add(source.below(count + 1) as u32).wrapping_sub(source.rarely(32).into()))
        .collect();
    let terms = about(source, terms * width);
    let terms = source.blocks(terms, Source::float);
    let length = about(source, width * count);
    let (weights, sums) = (source.blocks(width * count, Source::number), squares(source, length));
    same(|kernels| {
        let (mut weights, mut sums) = (weights.clone(), sums.clone());
        let rows = SteppedRows { ids: &ids, first, width };
        let done = kernels.adagrad_bags(&step, rows, &terms, sets, &mut weights, &mut sums);
        (done.is_ok(), [bits(as_floats(&weights)), bits(as_floats(&sums))].concat())
    });
}

fn decay(source: &mut Source<'_>) {
    let (width, shrink) = (width(source), shrink(source));
    let (l1, l2) = (source.float().abs(), source.float().abs());
    let (weights, gradients) = (source.blocks(width, Source::number), source.blocks(width, Source::number));
    same(|kernels| {
        let (mut shrunk, mut coupled) = (weights.clone(), gradients.clone());
        kernels.shrink(&shrink, &mut shrunk);
        let done = kernels.couple(l1, l2, &weights, &mut coupled);
        (done.is_ok(), [bits(as_floats(&shrunk)), bits(as_floats(&coupled))].concat())
    });
}

fn proximal(source: &mut Source<'_>) {
    let width = source.below(4);
    let rates: Vec<f64> = (0..source.below(5)).map(|_| f64::from(source.float().abs())).collect();
    let rates = if source.flag() { Rates::Varying(&rates) } else { Rates::Constant(source.float().abs().into(), source.any()) };
    let (l1, l2) = (source.float().abs().into(), source.float().abs().into());
    let steps = ProximalSteps { l1, l2, denominator: denominator(source), rates };
    let weights = source.blocks(width, Source::number);
    let length = about(source, width);
    let (sums, sum, each) = (squares(source, length), source.float().abs(), source.flag());
    same(|kernels| {
        let mut weights = weights.clone();
        let squares = if each { Squares::Each(&sums) } else { Squares::Same(sum) };
        let done = kernels.proximal(&steps, &mut weights, &squares);
        (done.is_ok(), bits(as_floats(&weights)))
    });
}

fn products(source: &mut Source<'_>) {
    let (items, terms, width) = (source.below(14), source.below(20), width(source));
    let (item_stride, term_stride) = if source.flag() { (terms, 1) } else { (1, items) };
    let length = about(source, items * terms);
    let factors = source.blocks(length.div_ceil(16), Source::number);
    let table = source.blocks((width + 1) * terms + 1, Source::number);
    let rows = Rows { blocks: &table, stride: width + source.below(2), first: source.below(2) };
    let product = Product { items, terms, factors: &as_floats(&factors)[..length], item_stride, term_stride, rows, width };
    let (first, stride) = (source.below(2), width + source.below(2));
    let room = about(source, first + stride * items);
    same(|kernels| {
        let mut blocks = vec![Block([7.0; 16]); room];
        let done = kernels.product(product, &mut RowsMut { blocks: &mut blocks, stride, first });
        (done.is_ok(), bits(as_floats(&blocks)))
    });

    let units = terms * 3;
    let weights = source.blocks(units * width, Source::number);
    let panels = Panels { weights: &weights[..], units, width };
    let delta = source.blocks(1 + width * items, Source::number);
    let delta = HiddenRows { blocks: &delta, stride: width, first: source.below(2), items };
    let stride = units.div_ceil(16);
    same(|kernels| {
        let mut blocks = zeroed(16 * stride * items);
        let done = kernels.panels_backward(panels, delta, &mut RowsMut { blocks: &mut blocks, stride, first: 0 });
        (done.is_ok(), bits(as_floats(&blocks)))
    });
}

//! Parts to a model to bytes to a model: the same bytes, the same parts, the same scores.

use super::parts::{Parts, all_finite};
use super::serve;
use super::source::Source;
use tagomatic::aligned::as_floats_mut;
use tagomatic::{Error, Model};

pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let mut parts = match Parts::draw(&mut source) {
        Ok(parts) => parts,
        Err(error) => return refused(&error),
    };
    if source.rarely(8) {
        let number = source.number();
        let bias = if source.flag() { &mut parts.b1 } else { &mut parts.b2 };
        let at = source.below(bias.len() * 16);
        as_floats_mut(bias).iter_mut().skip(at).take(1).for_each(|float| *float = number);
    }
    match parts.model() {
        Ok(model) => {
            assert!(all_finite(&parts.b1) && all_finite(&parts.b2));
            let read = Model::from_bytes(model.bytes()).expect("a model that was made");
            assert_eq!((read.network(), read.tags()), (&parts.network, &parts.tags));
            assert_eq!(read.extensions(), &parts.extensions);
            assert_eq!(read.provenance().expect("a model that was made"), parts.provenance);
            assert!(read.vocabulary().iter().eq(parts.vocabulary.iter()));
            let weights = read.weights();
            assert_eq!((weights.w1, weights.b1), (parts.w1.view(), &parts.b1[..]));
            assert_eq!((weights.w2, weights.b2), (parts.w2.view(), &parts.b2[..]));
            let bytes = model.bytes().to_vec();
            serve::whole(model, &bytes);
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &Error) {
    assert!(matches!(error, Error::BadName { .. } | Error::Config { .. } | Error::BadWeight { .. }), "{error:?}");
}

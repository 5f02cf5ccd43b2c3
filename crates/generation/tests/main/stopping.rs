//! Texts that are given up while they are written.

use blip2_generation::{GenerationConfig, GenerationError, StopFlag, generate};

use crate::chain::Chain;

#[test]
fn a_raised_flag_ends_the_text_at_the_next_token() {
    let stop = StopFlag::default();
    let settings = GenerationConfig {
        max_new_tokens: 50,
        stop: stop.clone(),
        ..Default::default()
    };
    let mut heard = 0;
    let mut listen = |_, _| {
        heard += 1;
        if heard == 3 {
            stop.raise();
        }
    };
    let written = generate(&mut Chain::new(3, 6, 1), &[vec![]], &settings, Some(&mut listen));
    assert!(matches!(written, Err(GenerationError::Stopped)));
    assert_eq!(heard, 3);
}

#[test]
fn beams_stop_before_anything_of_them_is_heard() {
    let settings = GenerationConfig {
        num_beams: 3,
        ..Default::default()
    };
    settings.stop.raise();
    let mut chain = Chain::new(3, 6, 1);
    let written = generate(&mut chain, &[vec![]], &settings, None);
    assert!(matches!(written, Err(GenerationError::Stopped)));
    assert_eq!(chain.fed, 0);
}

//! What the protocol, as it is written, does not keep: each hole is still found, with as many steps, and each
//! amendment still closes it. When the protocol changes, this test says which holes are gone.

use protocol_model::explore::{End, explore};
use protocol_model::named;
use protocol_model::properties::Violation;

const STATES_MAX: usize = 1_000_000;

const HOLES: &[(&str, Violation, usize)] = &[
    ("hole-cold", Violation::RetryToldSoldOut, 9),
    ("hole-cold-unsold", Violation::SoldTooFew, 14),
    ("hole-release", Violation::RetryToldSoldOut, 12),
    ("hole-busy", Violation::RetryToldSoldOut, 11),
    ("hole-copy", Violation::OwnerForgotten, 9),
    ("hole-flush", Violation::RetryToldSoldOut, 11),
];

#[test]
fn every_known_hole_is_found() {
    assert_eq!(HOLES.len(), named::HOLES.len());
    for (name, violation, steps) in HOLES {
        let report = explore(
            named::find(name).expect("a named configuration"),
            STATES_MAX,
            |_, _| {},
        );
        let End::Violated(trace) = report.end else {
            panic!("{name} is closed: {:?}", report.end)
        };
        println!("{name}:\n{trace}");
        assert_eq!(
            (trace.violation, trace.steps.len()),
            (*violation, *steps),
            "{name}:\n{trace}"
        );
    }
}

#[test]
fn every_amendment_closes_its_hole() {
    for config in named::AMENDED {
        let report = explore(config, STATES_MAX, |_, _| {});
        println!(
            "{}: {} states, depth {}",
            config.name, report.states, report.depth
        );
        assert!(
            matches!(report.end, End::Exhaustive),
            "{}: {:?}",
            config.name,
            report.end
        );
        assert!(
            report.states > 40_000,
            "{}: only {} states",
            config.name,
            report.states
        );
    }
}

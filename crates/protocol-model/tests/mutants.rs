//! Each rule that looks removable, removed: a counter-example is found, and it is as short as the table says.

use protocol_model::explore::{End, explore};
use protocol_model::mutants::Mutant;
use protocol_model::named;

const STATES_MAX: usize = 200_000;

/// The mutant, the configuration with the fewest states that catches it, the steps of the counter-example.
const CAUGHT: &[(Mutant, &str, usize)] = &[
    (Mutant::DecideTrustsHold, "loaded", 4),
    (Mutant::DecideIgnoresId, "every-message", 3),
    (Mutant::VoidWithoutTombstone, "one-id", 4),
    (Mutant::LedgerBeforeTombstone, "one-id", 5),
    (Mutant::NoVoidAfterUnknown, "one-id", 3),
    (Mutant::MissingIsZero, "cold-limit", 2),
    (Mutant::ReserveIgnoresHold, "loaded-three", 4),
    (Mutant::EarlyFactCountsAgain, "every-message", 7),
    (Mutant::OldFactCountsAgain, "every-message", 4),
    (Mutant::NewestVersionWins, "loaded", 3),
    (Mutant::SettleKeepsHold, "lost-id", 4),
    (Mutant::OldFactKeepsHold, "every-message", 10),
    (Mutant::ReleaseIsBlind, "every-message", 5),
    (Mutant::LoadOverwrites, "flush", 6),
    (Mutant::LoadWithoutLease, "switch", 5),
    (Mutant::LoadReadsBeforeLease, "cold-retries", 5),
    (Mutant::ApplyKeepsNothing, "cold-retries", 5),
    (Mutant::LoadDropsKept, "cold-retries", 5),
    (Mutant::VoidTwiceGivesTwice, "one-id", 5),
    (Mutant::ReserveIgnoresSold, "lost-id", 6),
    (Mutant::FactsSkipSold, "lost-id", 4),
    (Mutant::KeptFactsSkipSold, "cold-limit", 6),
    (Mutant::LoadForgetsIds, "switch", 3),
    (Mutant::ShortSetIsBelieved, "lost-id", 7),
    (Mutant::HalfIsLoaded, "damage", 1),
    (Mutant::UnloadDeletesFirst, "switch", 6),
    (Mutant::LeaseKeepsBuyers, "limit-losses", 11),
    (Mutant::HoldSkipsBuyer, "loaded-limit", 2),
    (Mutant::KeptFactsSkipBuyer, "cold-limit", 6),
    (Mutant::LoadIgnoresStrategy, "switch", 6),
];

/// Rules whose removal no configuration notices: they help, nothing rests on them.
const SURVIVES: &[Mutant] = &[Mutant::GiveBackKeepsHold, Mutant::GiveBackStaysSold];

#[test]
fn every_mutant_is_caught_by_a_shortest_counter_example() {
    let mut missed = Vec::new();
    for (mutant, name, steps) in CAUGHT {
        let config = named::find(name).expect("a named configuration").with(*mutant);
        let report = explore(&config, STATES_MAX, |_, _| {});
        match &report.end {
            End::Violated(trace) => {
                println!(
                    "{:>2} steps, {:>6} states in {name}: {mutant}: {}",
                    trace.steps.len(),
                    report.states,
                    trace.violation
                );
                if trace.steps.len() != *steps {
                    missed.push(format!(
                        "{mutant:?} takes {} steps, not {steps}:\n{trace}",
                        trace.steps.len()
                    ));
                }
            }
            end => missed.push(format!("{mutant:?} is not caught in {name}: {end:?}")),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn rules_that_nothing_rests_on_are_known() {
    for mutant in SURVIVES {
        for name in ["loaded-void", "loaded-limit", "cold-limit"] {
            let config = named::find(name).expect("a named configuration").with(*mutant);
            let report = explore(&config, STATES_MAX, |_, _| {});
            assert!(
                matches!(report.end, End::Exhaustive),
                "{mutant:?} in {name}: {:?}",
                report.end
            );
        }
    }
}

#[test]
fn every_mutant_has_its_line() {
    for mutant in Mutant::ALL {
        let caught = CAUGHT.iter().filter(|(listed, _, _)| listed == mutant).count();
        let survives = SURVIVES.iter().filter(|listed| *listed == mutant).count();
        assert_eq!(caught + survives, 1, "{mutant:?}");
    }
}

//! Every small configuration is explored to its last state, and nothing is found.

use protocol_model::config::{Amendments, Config, Promises};
use protocol_model::explore::{End, explore};
use protocol_model::named;

const STATES_MAX: usize = 4_000_000;

/// Explores all of it. The least number of states keeps a broken configuration from passing by doing nothing.
fn assert_exhaustive(config: &Config, states_min: usize) {
    let report = explore(config, STATES_MAX, |_, _| {});
    println!(
        "{}: {} states, depth {}: {:?}",
        config.name,
        report.states,
        report.depth,
        kind(&report.end)
    );
    if let End::Violated(trace) = &report.end {
        panic!("{} is violated:\n{trace}", config.name);
    }
    assert!(
        matches!(report.end, End::Exhaustive),
        "{} is capped at {STATES_MAX} states",
        config.name
    );
    assert!(
        report.states >= states_min,
        "{}: only {} states",
        config.name,
        report.states
    );
}

fn kind(end: &End) -> &'static str {
    match end {
        End::Exhaustive => "exhaustive",
        End::Capped => "capped",
        End::Violated(_) => "violated",
    }
}

fn assert_named(name: &str, states_min: usize) {
    let Some(config) = named::find(name) else {
        panic!("no configuration {name}")
    };
    assert_exhaustive(config, states_min);
}

#[test]
fn without_faults_everything_promised_holds() {
    let least = [
        ("loaded", 2_000),
        ("loaded-three", 5_000),
        ("loaded-retries", 45_000),
        ("loaded-void", 90_000),
        ("loaded-limit", 17_000),
        ("cold", 140_000),
        ("cold-limit", 6_500),
        ("cold-retries", 1_100_000),
        ("switch", 4_500),
    ];
    assert_eq!(least.len(), named::WITHOUT_FAULTS.len());
    for (name, states_min) in least {
        assert_named(name, states_min);
    }
}

#[test]
fn damage_failover_and_losses_neither_oversell_nor_drift() {
    let least = [
        ("damage", 60_000),
        ("lost-id", 450),
        ("failover", 1_250_000),
        ("limit-losses", 180_000),
        ("cold-losses", 1_200_000),
    ];
    for (name, states_min) in least {
        assert_named(name, states_min);
    }
}

#[test]
fn a_flush_neither_oversells_nor_refuses_anybody_for_nothing() {
    assert_named("flush", 1_600_000);
}

#[test]
fn one_id_survives_every_fault_of_messages_and_processes() {
    assert_named("one-id", 1_000_000);
}

#[test]
fn two_ids_with_retries_survive_every_fault_of_messages_and_processes() {
    assert_named("every-message", 1_900_000);
}

#[test]
fn the_amended_protocol_keeps_every_promise_without_faults() {
    for config in named::WITHOUT_FAULTS
        .iter()
        .filter(|config| config.name != "cold-retries")
    {
        let config = Config {
            amendments: Amendments::ALL,
            promises: Promises::ALL,
            ..*config
        };
        assert_exhaustive(&config, 1_000);
    }
}

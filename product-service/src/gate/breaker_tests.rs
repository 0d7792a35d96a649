//! The laws of the breaker.

use proptest::prelude::*;

use super::*;

const FAST: Duration = Duration::from_millis(1);

fn breaker(delay_ms: u64) -> Breaker {
    Breaker::new(&BreakerConfig {
        failures: 3,
        slow_ms: 20,
        rate_window_s: 5,
        delay_ms,
        delay_max_ms: 4 * delay_ms,
    })
}

fn fail(breaker: &Breaker, times: usize) {
    for _ in 0..times {
        if let Some(permit) = breaker.permit() {
            breaker.record(permit, false, FAST);
        }
    }
}

fn probe_when_due(breaker: &Breaker) -> Duration {
    let start = Instant::now();
    while !breaker.may_probe() {
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", breaker.view());
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

#[test]
fn failures_in_a_row_open_it_and_answers_in_between_do_not() {
    let breaker = breaker(1000);
    for _ in 0..5 {
        fail(&breaker, 2);
        let permit = breaker.permit().expect("closed");
        assert_eq!(breaker.record(permit, true, FAST), CallResult::Answered);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 3);
    assert_eq!(breaker.state(), BreakerState::Open);
    assert!(breaker.permit().is_none());
}

#[test]
fn slow_answers_count_as_failures() {
    let breaker = breaker(1000);
    for _ in 0..3 {
        let permit = breaker.permit().expect("closed");
        assert_eq!(
            breaker.record(permit, true, Duration::from_millis(20)),
            CallResult::Slow
        );
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn each_failed_probe_makes_the_next_one_wait_longer_up_to_the_maximum() {
    let breaker = breaker(40);
    fail(&breaker, 3);
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(breaker.view().next_probe.expect("open").as_millis() + breaker.view().since.as_millis());
        probe_when_due(&breaker);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(breaker.permit().is_none(), "requests never probe");
        assert!(!breaker.may_probe(), "one probe at a time");
        breaker.probed(false);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
    for (wait, expected) in waits.iter().zip([40, 80, 160, 160]) {
        assert!(
            (expected - 2..=expected + 2).contains(&(*wait as i64)),
            "{waits:?}"
        );
    }
    probe_when_due(&breaker);
    breaker.probed(true);
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 3);
    assert!(
        breaker.view().next_probe.expect("open") <= Duration::from_millis(40),
        "starts over"
    );
}

#[test]
fn a_result_from_before_the_last_change_changes_nothing() {
    let breaker = breaker(10);
    let early = breaker.permit().expect("closed");
    fail(&breaker, 3);
    assert_eq!(breaker.record(early, true, FAST), CallResult::Late);
    assert_eq!(breaker.state(), BreakerState::Open);
    probe_when_due(&breaker);
    assert_eq!(breaker.record(early, true, FAST), CallResult::Late);
    assert_eq!(
        breaker.state(),
        BreakerState::HalfOpen,
        "not closed by a success of long ago"
    );
    breaker.probed(true);
    for _ in 0..10 {
        assert_eq!(breaker.record(early, false, FAST), CallResult::Late);
    }
    assert_eq!(
        breaker.state(),
        BreakerState::Closed,
        "not opened by failures of long ago"
    );
}

#[test]
fn forced_open_is_not_probed_and_reset_closes() {
    let breaker = breaker(1);
    breaker.force_open();
    assert_eq!(breaker.state(), BreakerState::Open);
    std::thread::sleep(Duration::from_millis(5));
    assert!(!breaker.may_probe());
    assert_eq!(breaker.view().next_probe, None);
    breaker.reset();
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker, 3);
    breaker.force_open();
    breaker.reset();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[derive(Debug, Clone)]
enum Step {
    Take,
    Record(usize, bool, bool),
    AskToProbe,
    Probed(bool),
    ForceOpen,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Take),
        8 => (0..8_usize, prop::bool::ANY, prop::bool::ANY).prop_map(|(at, ok, slow)| Step::Record(at, ok, slow)),
        2 => Just(Step::AskToProbe),
        2 => prop::bool::ANY.prop_map(Step::Probed),
        1 => Just(Step::ForceOpen),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    /// Whatever happens in whatever order: permits only while closed; only the prober leaves open; late results
    /// change nothing; a closed breaker opens only by enough failures or by force.
    #[test]
    fn the_laws_hold_in_any_order(steps in prop::collection::vec(step(), 1..200)) {
        let breaker = breaker(0);
        let mut permits: Vec<(Permit, u64)> = Vec::new();
        for step in steps {
            let (before, epoch) = (breaker.state(), breaker.view().transitions);
            match step {
                Step::Take => {
                    let permit = breaker.permit();
                    prop_assert_eq!(permit.is_some(), before == BreakerState::Closed);
                    permits.extend(permit.map(|permit| (permit, epoch)));
                    prop_assert_eq!(breaker.state(), before);
                }
                Step::Record(at, ok, slow) => {
                    let Some((permit, taken)) = permits.get(at).copied() else { continue };
                    let took = if slow { Duration::from_secs(1) } else { FAST };
                    let result = breaker.record(permit, ok, took);
                    prop_assert_eq!(result == CallResult::Late, taken != epoch);
                    if result == CallResult::Late || result == CallResult::Answered {
                        prop_assert_eq!(breaker.state(), before);
                    }
                }
                Step::AskToProbe => {
                    let may = breaker.may_probe();
                    prop_assert!(!may || before == BreakerState::Open);
                    prop_assert_eq!(breaker.state(), if may { BreakerState::HalfOpen } else { before });
                }
                Step::Probed(healthy) => {
                    breaker.probed(healthy);
                    let after = match (before, healthy) {
                        (BreakerState::HalfOpen, true) => BreakerState::Closed,
                        (BreakerState::HalfOpen, false) => BreakerState::Open,
                        (other, _) => other,
                    };
                    prop_assert_eq!(breaker.state(), after);
                }
                Step::ForceOpen => {
                    breaker.force_open();
                    prop_assert_eq!(breaker.state(), BreakerState::Open);
                }
                Step::Reset => {
                    breaker.reset();
                    prop_assert_eq!(breaker.state(), BreakerState::Closed);
                }
            }
        }
    }
}

use super::*;
use crate::http::Fault;

fn question(asked: Asked) -> Question {
    Question {
        asked,
        product_id: 1,
        order_id: 9,
        quantity: 2,
    }
}

fn line(asked: Asked, told: Told) -> Line {
    Line {
        question: question(asked),
        instance: 0,
        told,
        asked_at: Instant::now(),
        took: Duration::from_millis(5),
    }
}

fn done(remaining: i64) -> Told {
    Told::Done {
        remaining,
        is_replay: false,
    }
}

fn movement(request_id: &str, direction: &str, balance_after: i64) -> Movement {
    Movement {
        product_id: 1,
        request_id: request_id.to_owned(),
        reason: String::from("ORDER_DECREMENT"),
        is_in: direction == "IN",
        quantity: 2,
        balance_after,
    }
}

fn refused() -> Told {
    Told::Refused(String::from("INSUFFICIENT_STOCK"))
}

fn found(lines: &[Line], movements: &[Movement]) -> String {
    violations(lines, movements, &[]).join("; ")
}

#[test]
fn what_was_told_and_is_in_the_ledger_is_right() {
    let lines = [
        line(Asked::Decrease, done(8)),
        line(Asked::Decrease, done(8)),
        line(Asked::Cancel, done(10)),
    ];
    let movements = [movement("DEC-9", "OUT", 8), movement("INC-9", "IN", 10)];
    assert_eq!(found(&lines, &movements), "");
    assert_eq!(found(&[line(Asked::Decrease, refused())], &[]), "");
    assert_eq!(
        found(&[line(Asked::Cancel, done(10))], &[]),
        "",
        "a cancellation of nothing moves nothing"
    );
}

#[test]
fn every_broken_promise_is_found() {
    let sold = || line(Asked::Decrease, done(8));
    let decrease = || movement("DEC-9", "OUT", 8);
    assert!(found(&[sold()], &[]).contains("told yes, but not in the ledger"));
    assert!(found(&[sold()], &[decrease(), decrease()]).contains("twice in the ledger"));
    assert!(found(&[sold()], &[movement("DEC-9", "OUT", 7)]).contains("in the ledger is"));
    assert!(found(&[sold()], &[movement("DEC-9", "IN", 8)]).contains("asked for"));
    assert!(found(&[], &[decrease()]).contains("nobody asked for"));
    assert!(found(&[line(Asked::Decrease, refused())], &[decrease()]).contains("told no 1 times"));
    let cancelled = [sold(), line(Asked::Cancel, done(10))];
    assert!(found(&cancelled, &[decrease()]).contains("told yes, but not in the ledger"));
}

#[test]
fn who_does_not_know_may_own_it_or_not_but_needs_a_reason_not_to_know() {
    let later = || Told::Failed(String::from("503 RETRY_LATER"));
    let cut_off = || Told::Nothing(Fault::Broken);
    for told in [later(), cut_off()] {
        let line = line(Asked::Decrease, told);
        let window = Window {
            began: line.asked_at,
            ended: line.asked_at,
            instance: Some(0),
        };
        for movements in [vec![], vec![movement("DEC-9", "OUT", 8)]] {
            assert_eq!(
                violations(
                    std::slice::from_ref(&line),
                    &movements,
                    std::slice::from_ref(&window)
                ),
                Vec::<String>::new()
            );
        }
    }
    assert!(found(&[line(Asked::Decrease, cut_off())], &[]).contains("unexplained"));
    assert_eq!(later_unexplained(&[line(Asked::Decrease, later())], &[]), 1);
    let of_another = Window {
        began: Instant::now(),
        ended: Instant::now(),
        instance: Some(1),
    };
    let lines = [line(Asked::Decrease, cut_off())];
    assert_eq!(
        violations(&lines, &[], std::slice::from_ref(&of_another)).len(),
        1
    );
    let lines = [line(Asked::Decrease, later())];
    assert_eq!(
        later_unexplained(&lines, &[of_another]),
        0,
        "it may have locked a row"
    );
    for strange in ["500 INTERNAL_ERROR", "200 (unreadable)"] {
        let lines = [line(Asked::Decrease, Told::Failed(strange.to_owned()))];
        assert!(found(&lines, &[]).contains("unexplained"), "{strange}");
    }
}

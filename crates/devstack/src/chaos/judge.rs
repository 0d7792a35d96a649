//! What customers were told, held against the ledger: every yes is there, once and as told; nothing else is.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::books::Movement;
use crate::load::crowd::Line;
use crate::load::question::{Asked, Question, Told};

/// Refusals that customers who do what ours do may hear.
const REFUSALS: [&str; 2] = ["INSUFFICIENT_STOCK", "ORDER_VOIDED"];
/// What is said when nobody decided.
pub const RETRY_LATER: &str = "503 RETRY_LATER";
/// How long after a fault its consequences may last: connections are found dead, locks run out.
const AFTERMATH: Duration = Duration::from_secs(6);

/// A fault of Postgres, of the way to it, or of an instance: what may leave a customer without an answer.
#[derive(Clone, Debug)]
pub struct Window {
    /// When it began.
    pub began: Instant,
    /// When it was healed.
    pub ended: Instant,
    /// The instance, if it is the instance that failed.
    pub instance: Option<usize>,
}

/// All answers to one question.
#[derive(Default)]
struct Answers<'a> {
    yes: Vec<(&'a Line, i64)>,
    no: usize,
    unknown: usize,
}

/// What is wrong, in words; empty when every promise was kept.
#[must_use]
pub fn violations(lines: &[Line], movements: &[Movement], windows: &[Window]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut questions: HashMap<Question, Answers<'_>> = HashMap::new();
    for line in lines {
        wrong.extend(surprise(line, windows));
        let answers = questions.entry(line.question).or_default();
        match &line.told {
            Told::Done { remaining, .. } => answers.yes.push((line, *remaining)),
            Told::Refused(_) => answers.no += 1,
            Told::Failed(_) | Told::Nothing(_) => answers.unknown += 1,
        }
    }
    let mut ledger: HashMap<&str, &Movement> = HashMap::new();
    for movement in movements {
        if let Some(first) = ledger.insert(&movement.request_id, movement) {
            wrong.push(format!("twice in the ledger: {first:?}, {movement:?}"));
        }
    }
    let mut keys: HashMap<String, Question> = HashMap::new();
    for (question, answers) in &questions {
        let movement = ledger.get(question.key().as_str()).copied();
        keys.insert(question.key(), *question);
        wrong.extend(kept(question, answers, movement, &ledger));
    }
    let unasked = movements
        .iter()
        .filter(|movement| movement.reason != "INITIAL" && !keys.contains_key(&movement.request_id));
    wrong.extend(unasked.map(|movement| format!("nobody asked for {movement:?}")));
    wrong
}

/// An answer that nothing explains.
fn surprise(line: &Line, windows: &[Window]) -> Option<String> {
    let is_fine = match &line.told {
        Told::Done { .. } => true,
        Told::Refused(code) => REFUSALS.contains(&code.as_str()),
        // Counted apart.
        Told::Failed(answer) => answer == RETRY_LATER,
        Told::Nothing(_) => is_explained(line, windows, |window| window.instance == Some(line.instance)),
    };
    (!is_fine).then(|| format!("unexplained: {line:?}"))
}

/// How many were told to come again while no fault of Postgres, the way to it, or an instance explains it.
#[must_use]
pub fn later_unexplained(lines: &[Line], windows: &[Window]) -> usize {
    let later = lines
        .iter()
        .filter(|line| line.told == Told::Failed(RETRY_LATER.to_owned()));
    later
        .filter(|line| !is_explained(line, windows, |_| true))
        .count()
}

fn is_explained(line: &Line, windows: &[Window], may: impl Fn(&Window) -> bool) -> bool {
    let answered_at = line.asked_at + line.took;
    windows
        .iter()
        .any(|window| may(window) && window.began <= answered_at && line.asked_at <= window.ended + AFTERMATH)
}

/// How long the slowest answer took among those that no fault of the asked instance has touched.
#[must_use]
pub fn slowest(lines: &[Line], windows: &[Window]) -> Duration {
    let answered = lines.iter().filter(|line| !matches!(line.told, Told::Nothing(_)));
    answered
        .filter(|line| !is_explained(line, windows, |window| window.instance == Some(line.instance)))
        .map(|line| line.took)
        .max()
        .unwrap_or_default()
}

/// How many were told each thing.
#[must_use]
pub fn answers(lines: &[Line]) -> BTreeMap<String, u64> {
    let mut words = BTreeMap::new();
    for line in lines {
        let word = match &line.told {
            Told::Done { .. } => "200".to_owned(),
            Told::Refused(code) | Told::Failed(code) => code.clone(),
            Told::Nothing(fault) => fault.to_string(),
        };
        *words.entry(word).or_default() += 1;
    }
    words
}

/// Whether the answers to one question agree with what is in the ledger under its key.
fn kept(
    question: &Question,
    answers: &Answers<'_>,
    movement: Option<&Movement>,
    ledger: &HashMap<&str, &Movement>,
) -> Option<String> {
    let Some(movement) = movement else {
        // A cancellation is done without a movement where its order had taken nothing; and stays so: it is void.
        let has_to_move =
            question.asked != Asked::Cancel || ledger.contains_key(decrease_of(question).as_str());
        let (line, _) = answers.yes.first().filter(|_| has_to_move)?;
        return Some(format!("told yes, but not in the ledger: {line:?}"));
    };
    if movement.product_id != question.product_id || movement.units() != moves(question) {
        return Some(format!("asked for {question:?}, in the ledger is {movement:?}"));
    }
    let told_otherwise = |(_, remaining): &&(&Line, i64)| *remaining != movement.balance_after;
    if let Some((line, _)) = answers.yes.iter().find(told_otherwise) {
        return Some(format!("told {line:?}, in the ledger is {movement:?}"));
    }
    (answers.yes.is_empty() && answers.unknown == 0)
        .then(|| format!("told no {} times, but in the ledger: {movement:?}", answers.no))
}

fn decrease_of(question: &Question) -> String {
    Question {
        asked: Asked::Decrease,
        ..*question
    }
    .key()
}

fn moves(question: &Question) -> i64 {
    match question.asked {
        Asked::Decrease => -question.quantity,
        Asked::Cancel | Asked::Restock => question.quantity,
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

//! Which acknowledgements to send: one for all messages up to a tag where that is possible, because a quorum queue writes
//! each acknowledgement to its log.
//!
//! A message that takes long must not be acknowledged with those behind it. They wait for it, until half of the prefetch does:
//! then each is acknowledged by itself, so that one stuck message stops nobody. If the service dies first, what waited
//! is delivered again.

use std::collections::BTreeSet;

use super::Handled;

/// What to tell the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// This message is dealt with.
    Ack(u64),
    /// This one is, and all before it that the broker has heard nothing of.
    AckUpTo(u64),
    /// Nobody can act on this message.
    Dead(u64),
    /// Somebody else gets this message.
    Again(u64),
}

/// The messages of one channel.
pub(super) struct Acks {
    under_way: BTreeSet<u64>,
    done: BTreeSet<u64>,
    waiting_max: usize,
}

impl Acks {
    pub(super) fn new(prefetch: u16) -> Self {
        Self {
            under_way: BTreeSet::new(),
            done: BTreeSet::new(),
            waiting_max: usize::from(prefetch / 2).max(1),
        }
    }

    /// A message has come.
    pub(super) fn delivered(&mut self, tag: u64) {
        self.under_way.insert(tag);
    }

    /// What became of some messages; returns what to say now.
    pub(super) fn settled(&mut self, messages: impl IntoIterator<Item = (u64, Handled)>) -> Vec<Word> {
        let mut words = Vec::new();
        for (tag, handled) in messages {
            self.under_way.remove(&tag);
            match handled {
                Handled::Done => {
                    self.done.insert(tag);
                }
                Handled::Dead => words.push(Word::Dead(tag)),
                Handled::Left => words.push(Word::Again(tag)),
            }
        }
        // None under way below this one.
        let behind = match self.under_way.first() {
            Some(oldest) => self.done.split_off(oldest),
            None => BTreeSet::new(),
        };
        let ready = std::mem::replace(&mut self.done, behind);
        words.extend(ready.last().map(|tag| Word::AckUpTo(*tag)));
        if self.done.len() >= self.waiting_max {
            words.extend(std::mem::take(&mut self.done).into_iter().map(Word::Ack));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn acks(prefetch: u16, delivered: u64) -> Acks {
        let mut acks = Acks::new(prefetch);
        (1..=delivered).for_each(|tag| acks.delivered(tag));
        acks
    }

    fn done(tags: impl IntoIterator<Item = u64>) -> Vec<(u64, Handled)> {
        tags.into_iter().map(|tag| (tag, Handled::Done)).collect()
    }

    #[test]
    fn a_batch_in_any_order_is_one_word() {
        assert_eq!(acks(100, 5).settled(done([3, 1, 5, 2, 4])), [Word::AckUpTo(5)]);
    }

    #[test]
    fn a_message_under_way_is_not_acknowledged_with_those_behind_it() {
        let mut acks = acks(100, 5);
        assert_eq!(acks.settled(done([1, 2, 4, 5])), [Word::AckUpTo(2)]);
        assert_eq!(acks.settled(done([3])), [Word::AckUpTo(5)]);
    }

    #[test]
    fn one_stuck_message_holds_back_half_the_prefetch_at_most() {
        let mut acks = acks(6, 6);
        assert_eq!(acks.settled(done([2, 3])), []);
        assert_eq!(acks.settled(done([4])), [2, 3, 4].map(Word::Ack));
        assert_eq!(acks.settled(done([1])), [Word::AckUpTo(1)]);
    }

    #[test]
    fn what_is_not_done_is_told_by_itself_and_before_what_is() {
        let mut acks = acks(100, 4);
        let settled = [
            (1, Handled::Done),
            (2, Handled::Dead),
            (3, Handled::Left),
            (4, Handled::Done),
        ];
        assert_eq!(
            acks.settled(settled),
            [Word::Dead(2), Word::Again(3), Word::AckUpTo(4)]
        );
    }

    proptest! {
        /// A broker that knows what it has delivered hears of each message once, whatever the order.
        #[test]
        fn every_message_is_settled_once_and_none_before_it_is_handled(
            prefetch in 1u16..40,
            steps in prop::collection::vec((0usize..40, 0u8..10), 1..200),
        ) {
            let mut acks = Acks::new(prefetch);
            let (mut under_way, mut unheard) = (Vec::new(), BTreeSet::new());
            let mut next = 1;
            for (index, outcome) in steps {
                while unheard.len() < usize::from(prefetch) {
                    acks.delivered(next);
                    under_way.push(next);
                    unheard.insert(next);
                    next += 1;
                }
                prop_assert!(!under_way.is_empty(), "nothing moves any more");
                let tag: u64 = under_way.swap_remove(index % under_way.len());
                let handled = match outcome {
                    0 => Handled::Dead,
                    1 => Handled::Left,
                    _ => Handled::Done,
                };
                for word in acks.settled([(tag, handled)]) {
                    match word {
                        Word::Ack(tag) | Word::Dead(tag) | Word::Again(tag) => {
                            prop_assert!(unheard.remove(&tag) && !under_way.contains(&tag));
                        }
                        Word::AckUpTo(tag) => {
                            prop_assert!(unheard.contains(&tag), "the broker refuses a tag it does not wait for");
                            let behind = unheard.split_off(&(tag + 1));
                            prop_assert!(unheard.iter().all(|tag| !under_way.contains(tag)));
                            unheard = behind;
                        }
                    }
                }
            }
        }
    }
}

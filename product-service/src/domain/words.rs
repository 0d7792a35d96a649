//! One word from Lua to dashboard: the statuses scripts and decisions answer with, and metrics are labelled by.

/// Declares a closed list of statuses, each with its one word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every status, in the order of the glossary.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it: in scripts, metric labels and the glossary.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The status a word stands for.
            #[must_use]
            pub fn from_word(word: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|status| status.word().as_bytes() == word)
            }
        }
    };
}

words! {
    /// What `lua/reserve.lua` says of one request.
    Admission {
        /// Units are held for it: the database decides.
        Held = "held",
        /// It got stock before: the database knows its answer.
        Replay = "replay",
        /// The product cannot be sold any more: refused, like the others below, without the database.
        Discontinued = "discontinued",
        /// Outside the sale window, by the clock of Redis.
        NotOpen = "not_open",
        /// The product has a purchase limit and the request names no buyer.
        BuyerRequired = "buyer_required",
        /// The buyer would own more than the purchase limit.
        Limit = "limit",
        /// Fewer units can be promised than it asks for.
        SoldOut = "sold_out",
        /// The gate cannot say: the database decides.
        Cold = "cold",
    }
}

words! {
    /// What `lua/reserve.lua` says of the product.
    GateState {
        /// The gate has decided.
        Loaded = "loaded",
        /// Not loaded, and the caller has the lease: it loads.
        Load = "load",
        /// Not loaded, somebody else is at it.
        Cold = "cold",
    }
}

words! {
    /// What `lua/remember.lua` and `lua/load.lua` answer.
    LoadStep {
        /// A chunk of request ids is in.
        Remembered = "remembered",
        /// The gate is open.
        Loaded = "loaded",
        /// Somebody else had opened it.
        AlreadyLoaded = "already_loaded",
        /// The lease ran out or went to somebody else: this load stops.
        LeaseLost = "lease_lost",
    }
}

words! {
    /// What `lua/apply.lua` answers.
    Settled {
        /// Facts counted, holds ended.
        Applied = "applied",
        /// The product is being loaded: the facts wait for that.
        Kept = "kept",
        /// The product is not loaded: the next load reads the facts from the database.
        Ignored = "ignored",
    }
}

words! {
    /// What the decision says of one request.
    Verdict {
        /// Stock moved, now.
        Done = "done",
        /// Stock moved before, under the same request id: same answer.
        Replay = "replay",
        /// Fewer units than asked for.
        Insufficient = "insufficient",
        /// The request was given up for good before it arrived.
        Voided = "voided",
        /// The request id belongs to another request.
        KeyReused = "key_reused",
        /// An increase that names another quantity, order or product than the decrease it voids.
        Mismatch = "mismatch",
        /// No such product.
        NotFound = "not_found",
        /// The product cannot be sold any more.
        Discontinued = "discontinued",
        /// Outside the sale window.
        NotOpen = "not_open",
        /// The buyer would own more than the product's purchase limit.
        Limit = "limit",
        /// The product limits purchases and the request names no buyer.
        BuyerRequired = "buyer_required",
        /// Stock would rise above the most a product may have.
        Overflow = "overflow",
    }
}

words! {
    /// What the reconciler finds. In health there is none of it.
    Find {
        /// A hold past its deadline whose request is in the ledger: settled now.
        Settled = "settled",
        /// A hold past its deadline whose request is not: released.
        Released = "released",
        /// A movement the gate was not told of: told now.
        Missed = "missed",
        /// The counter is not what the ledger says it has to be: loaded anew.
        Drift = "drift",
        /// The gate knows movements the database does not: the database lost commits; loaded anew.
        Ahead = "ahead",
        /// The memory of ids that got stock has shrunk: loaded anew.
        Forgetful = "forgetful",
        /// The product's rules have changed, and its gate was not told: loaded anew.
        Rules = "rules",
        /// A key of a wrong type, or a value no script writes: loaded anew.
        Unreadable = "unreadable",
        /// Not loaded: loaded.
        NotLoaded = "not_loaded",
    }
}

words! {
    /// State of the breaker: failsafe's words.
    BreakerState {
        /// Redis is called.
        Closed = "closed",
        /// It is not: everything goes to the database.
        Open = "open",
        /// The prober, and nobody else, is finding out whether Redis is back.
        HalfOpen = "half_open",
    }
}

words! {
    /// What a call of Redis means to the breaker.
    CallResult {
        /// Answered in time, whatever the answer.
        Answered = "answered",
        /// Answered too late: counts as a failure.
        Slow = "slow",
        /// Not answered, or refused as a whole.
        Failed = "failed",
        /// Begun before the breaker last changed: counts as nothing.
        Late = "late",
    }
}

words! {
    /// Why a request got no decision. Each is `503 RETRY_LATER`; whether stock moved is unknown only for `Deadline`
    /// and `Database`, and a retry with the same key finds out.
    Unavailable {
        /// The gate's or the ledger's queue is full.
        QueueFull = "queue_full",
        /// The service is draining.
        Draining = "draining",
        /// The product's row stayed locked too long.
        LockTimeout = "lock_timeout",
        /// The database took too long for a statement.
        StatementTimeout = "statement_timeout",
        /// No database connection became free in time.
        PoolTimeout = "pool_timeout",
        /// The database failed or cannot be reached.
        Database = "database",
        /// The request's own deadline passed first.
        Deadline = "deadline",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_back_to_its_status() {
        for status in Admission::ALL {
            assert_eq!(Admission::from_word(status.word().as_bytes()), Some(*status));
        }
        for status in Verdict::ALL {
            assert_eq!(Verdict::from_word(status.word().as_bytes()), Some(*status));
        }
        assert_eq!(Admission::from_word(b"HELD"), None);
    }
}

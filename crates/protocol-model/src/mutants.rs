//! Owns the list of rules that look removable: each can be broken, one at a time, and the tests assert that a run
//! then finds a counter-example.

use std::fmt;

macro_rules! mutants {
    ($($name:ident, $words:literal;)*) => {
        /// A rule of the protocol, broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $(#[doc = $words] $name,)* }

        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$name,)*];
        }

        impl fmt::Display for Mutant {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(match self { $(Mutant::$name => $words,)* })
            }
        }
    };
}

mutants! {
    DecideTrustsHold, "decide does not check the stock of a request that holds units";
    DecideIgnoresId, "decide does not look for the id in the ledger";
    VoidWithoutTombstone, "a void of an unsold id writes no tombstone";
    LedgerBeforeTombstone, "decide looks at the ledger before the tombstone";
    NoVoidAfterUnknown, "a no after an attempt of unknown outcome is not voided";
    MissingIsZero, "a missing counter is read as zero";
    ReserveIgnoresHold, "reserve does not look for an existing hold";
    EarlyFactCountsAgain, "a fact above v counts each time it arrives";
    OldFactCountsAgain, "a fact counts though its version is not above v";
    NewestVersionWins, "v is the newest version seen";
    SettleKeepsHold, "a fact does not end the hold of its request";
    OldFactKeepsHold, "a fact that is contained already does not end the hold of its request";
    ReleaseIsBlind, "release gives units back without looking for the hold";
    LoadOverwrites, "load overwrites a loaded product";
    LoadWithoutLease, "load does not need the lease";
    LoadReadsBeforeLease, "the database is read before the lease is granted";
    ApplyKeepsNothing, "facts that arrive while somebody loads are not kept";
    LoadDropsKept, "load does not count the kept facts";
    VoidTwiceGivesTwice, "a repeated void gives back again";
    GiveBackKeepsHold, "the fact of a give-back does not end the hold of the voided request";
    ReserveIgnoresSold, "reserve does not look at the sold set";
    FactsSkipSold, "the request id of a fact does not enter the sold set";
    KeptFactsSkipSold, "the request id of a kept fact does not enter the sold set";
    LoadForgetsIds, "the recent request ids are not put into the sold set before load";
    GiveBackStaysSold, "a give-back does not take its id out of the sold set";
    ShortSetIsBelieved, "a sold set with fewer members than k is believed";
    HalfIsLoaded, "the counter alone counts as loaded";
    UnloadDeletesFirst, "unload deletes the keys before the product is DB_ONLY";
    LeaseKeepsBuyers, "what a load that died has left of the buyers' units is kept with the next lease";
    HoldSkipsBuyer, "a hold does not count as units of its buyer";
    KeptFactsSkipBuyer, "load does not count the kept facts for their buyers";
    LoadIgnoresStrategy, "a loader does not look at the strategy after it got the lease";
}

//! The table: every step of both flows, with the point before it and the point after it. A message that has arrived is
//! the point before the write it leads to, so neighbours share points; each is visited once per service that is killed.
//!
//! | flow | step | before it | after it |
//! |---|---|---|---|
//! | v1 | persist PENDING | being written | committed, unheard |
//! | | call out | held on its way | arrived: the decision is being written |
//! | | decision at product-service | being written | committed, unheard |
//! | | reply | held on its way | arrived: the conclusion is being written |
//! | | conclude CONFIRMED, or FAILED when refused | being written | committed, unheard |
//! | v2 | order + outbox | being written | committed, unheard |
//! | | publish | held on its way | the broker has it: its confirm is held |
//! | | broker's confirm | held on its way | arrived: SENT is being written |
//! | | SENT mark | being written | committed, unheard |
//! | | consume | delivery held on its way | arrived: the decision is being written |
//! | | decision at product-service | being written | committed, unheard |
//! | | result publish | held on its way | the broker has it: its confirm is held |
//! | | result confirm | held on its way | arrived: the request's ack is held |
//! | | ack of the request | held on its way | arrived, and nothing after it |
//! | | result consume | delivery held on its way | arrived: the conclusion is being written |
//! | | conclude CONFIRMED | being written | committed, unheard |
//! | | ack of the result | held on its way | arrived, and nothing after it |
//! | cancel | begin | being written | committed, unheard |
//! | | call out | held on its way | arrived: the void is being written |
//! | | void at product-service | being written | committed, unheard |
//! | | reply | held on its way | arrived: the conclusion is being written |
//! | | conclude CANCELLED | being written | committed, unheard |
//! | compensation | conclude FAILED, with the void | being written | committed, unheard |
//! | | call out | held on its way | arrived: the void is being written |
//! | | void at product-service | being written | committed, unheard |
//! | | void ack: its reply | held on its way | arrived: its end is being written |
//! | | the step is over | being written | committed, unheard |

use crate::writes::{End, Write};

/// Where the system stands when the kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// A write is held up by the database.
    Write(Write, End),
    /// A message is on its way, and has not arrived.
    OnItsWay(Sent),
    /// A message has arrived, and nothing after it.
    Arrived(Sent),
}

/// What one program sends another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// order-service to product-service: take the units.
    Decrease,
    /// What it says to that.
    DecreaseReply,
    /// order-service to product-service: give them back.
    Increase,
    /// What it says to that.
    IncreaseReply,
    /// order-service to the broker: the request.
    Request,
    /// The broker to order-service: it has it.
    RequestConfirm,
    /// The broker to product-service: the request.
    RequestDelivery,
    /// product-service to the broker: the request is dealt with.
    RequestAck,
    /// product-service to the broker: the result.
    Result,
    /// The broker to product-service: it has it.
    ResultConfirm,
    /// The broker to order-service: the result.
    ResultDelivery,
    /// order-service to the broker: the result is dealt with.
    ResultAck,
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// `POST /v1/orders`.
    V1,
    /// The same for a product without stock.
    V1Refused,
    /// `POST /v2/orders`.
    V2,
    /// Cancelling a confirmed order.
    Cancel,
    /// `POST /v1/orders` that takes stock and gets no answer.
    Compensation,
}

/// A point, and where it is hit again after the restart: there, or at the next one that a restarted system comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) flow: Flow,
    pub(crate) first: Point,
    /// `None`: everything is done, and the second kill comes as soon as it is back.
    pub(crate) again: Option<Point>,
}

const fn writing(write: Write) -> Point {
    Point::Write(write, End::Writing)
}

const fn committed(write: Write) -> Point {
    Point::Write(write, End::Committed)
}

const fn twice(flow: Flow, point: Point) -> Row {
    then(flow, point, point)
}

const fn then(flow: Flow, first: Point, again: Point) -> Row {
    Row {
        flow,
        first,
        again: Some(again),
    }
}

const fn done(flow: Flow, first: Point) -> Row {
    Row {
        flow,
        first,
        again: None,
    }
}

use Flow::{Cancel, Compensation, V1, V1Refused, V2};
use Point::{Arrived, OnItsWay};
use Sent::{
    Decrease, DecreaseReply, Increase, IncreaseReply, Request, RequestAck, RequestConfirm, RequestDelivery,
    Result, ResultAck, ResultConfirm, ResultDelivery,
};
use Write::{CancelBegun, Decided, Placed, Status, VoidOver, Voided};

const CONFIRMED: Write = Status("CONFIRMED");
const CANCELLED: Write = Status("CANCELLED");
const FAILED: Write = Status("FAILED");

/// The synchronous flow.
pub(crate) const SYNCHRONOUS: [Row; 10] = [
    twice(V1, writing(Placed)),
    then(V1, committed(Placed), OnItsWay(Decrease)),
    twice(V1, OnItsWay(Decrease)),
    twice(V1, writing(Decided)),
    then(V1, committed(Decided), OnItsWay(DecreaseReply)),
    twice(V1, OnItsWay(DecreaseReply)),
    twice(V1, writing(CONFIRMED)),
    done(V1, committed(CONFIRMED)),
    twice(V1Refused, writing(FAILED)),
    done(V1Refused, committed(FAILED)),
];

/// The asynchronous flow.
pub(crate) const ASYNCHRONOUS: [Row; 18] = [
    twice(V2, writing(Placed)),
    then(V2, committed(Placed), OnItsWay(Request)),
    twice(V2, OnItsWay(Request)),
    twice(V2, OnItsWay(RequestConfirm)),
    twice(V2, writing(Write::Sent)),
    then(V2, committed(Write::Sent), OnItsWay(RequestDelivery)),
    twice(V2, OnItsWay(RequestDelivery)),
    twice(V2, writing(Decided)),
    then(V2, committed(Decided), OnItsWay(Result)),
    twice(V2, OnItsWay(Result)),
    twice(V2, OnItsWay(ResultConfirm)),
    twice(V2, OnItsWay(RequestAck)),
    then(V2, Arrived(RequestAck), OnItsWay(ResultDelivery)),
    twice(V2, OnItsWay(ResultDelivery)),
    twice(V2, writing(CONFIRMED)),
    then(V2, committed(CONFIRMED), OnItsWay(ResultAck)),
    twice(V2, OnItsWay(ResultAck)),
    done(V2, Arrived(ResultAck)),
];

/// A cancel.
pub(crate) const CANCELLING: [Row; 8] = [
    twice(Cancel, writing(CancelBegun)),
    then(Cancel, committed(CancelBegun), OnItsWay(Increase)),
    twice(Cancel, OnItsWay(Increase)),
    twice(Cancel, writing(Voided)),
    then(Cancel, committed(Voided), OnItsWay(IncreaseReply)),
    twice(Cancel, OnItsWay(IncreaseReply)),
    twice(Cancel, writing(CANCELLED)),
    done(Cancel, committed(CANCELLED)),
];

/// What an outcome that nobody knows is followed by.
pub(crate) const COMPENSATING: [Row; 8] = [
    twice(Compensation, writing(FAILED)),
    then(Compensation, committed(FAILED), OnItsWay(Increase)),
    twice(Compensation, OnItsWay(Increase)),
    twice(Compensation, writing(Voided)),
    then(Compensation, committed(Voided), OnItsWay(IncreaseReply)),
    twice(Compensation, OnItsWay(IncreaseReply)),
    twice(Compensation, writing(VoidOver)),
    done(Compensation, committed(VoidOver)),
];

//! Reserve: admits or refuses what waits for hot products, one script call per product, all in one round trip.

use redis::{Cmd, Value};
use uuid::Uuid;

use super::link::Link;
use super::scripts::RESERVE;
use super::{Gate, GateError};
use crate::domain::request::{BuyerId, ProductId, Quantity, RequestId};
use crate::domain::words::{Admission, GateState};

/// What asks for admission to one product, in order of arrival.
pub struct Reservation<'a> {
    /// The product.
    pub product: ProductId,
    /// Request ids with the units they ask for, and for whom.
    pub requests: Vec<(&'a RequestId, Quantity, Option<&'a BuyerId>)>,
}

/// What the gate said about one product's requests.
#[derive(Debug)]
pub struct Reserved {
    /// Units that may still be promised.
    pub counter: i64,
    /// Units one buyer may own, if limited.
    pub limit: Option<i64>,
    /// One for each request, in their order.
    pub admissions: Vec<Admission>,
    /// Whether the product is loaded.
    pub loaded: bool,
    /// The lease to load the product with, when it fell to this caller.
    pub lease: Option<Lease>,
}

/// The right to load a product, for as long as Redis keeps it.
#[derive(Debug, Clone)]
pub struct Lease(pub(super) String);

impl Gate {
    /// Asks for admission, for any number of products. One result per product, in their order: an error of one (a key
    /// of a wrong type, say) leaves the others alone.
    ///
    /// # Errors
    /// [`GateError`] when there was no answer at all. Holds may have been taken all the same; they are found by their
    /// request id later.
    pub async fn reserve(
        &self,
        link: &mut Link,
        reservations: &[Reservation<'_>],
    ) -> Result<Vec<Result<Reserved, GateError>>, GateError> {
        let token = Uuid::now_v7().simple().to_string();
        let calls = reservations
            .iter()
            .map(|reservation| self.reserve_call(reservation, &token))
            .collect();
        let replies = RESERVE.run(link, calls).await?;
        if replies.len() != reservations.len() {
            return Err(GateError::Reply(format!("{} answers", replies.len())));
        }
        Ok(replies
            .into_iter()
            .zip(reservations)
            .map(|(reply, reservation)| parse(reply?, reservation.requests.len(), &token))
            .collect())
    }

    fn reserve_call(&self, reservation: &Reservation<'_>, token: &str) -> Cmd {
        let mut call = RESERVE.call(reservation.product);
        call.arg(self.config.hold_ttl_ms)
            .arg(token)
            .arg(self.config.lease_ms);
        for (request_id, quantity, buyer) in &reservation.requests {
            call.arg(request_id.as_str())
                .arg(quantity.units())
                .arg(buyer.map_or("", BuyerId::as_str));
        }
        call
    }
}

fn parse(reply: Value, requests: usize, token: &str) -> Result<Reserved, GateError> {
    let unexpected = |what: &Value| GateError::Reply(format!("reserve: {what:?}"));
    let Value::Array(items) = &reply else {
        return Err(unexpected(&reply));
    };
    let [
        Value::BulkString(state),
        Value::Int(counter),
        Value::Int(limit),
        words @ ..,
    ] = items.as_slice()
    else {
        return Err(unexpected(&reply));
    };
    let state = GateState::from_word(state).ok_or_else(|| unexpected(&reply))?;
    if state != GateState::Loaded {
        let lease = (state == GateState::Load).then(|| Lease(token.to_owned()));
        return Ok(Reserved {
            counter: 0,
            limit: None,
            admissions: vec![Admission::Cold; requests],
            loaded: false,
            lease,
        });
    }
    let admissions = words
        .iter()
        .map(|word| match word {
            Value::BulkString(word) => Admission::from_word(word),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .filter(|admissions| admissions.len() == requests)
        .ok_or_else(|| unexpected(&reply))?;
    Ok(Reserved {
        counter: *counter,
        limit: (*limit > 0).then_some(*limit),
        admissions,
        loaded: true,
        lease: None,
    })
}

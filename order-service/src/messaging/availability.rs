//! Availability: product-service says what is sold out, and what is not any more.

use std::future::{Ready, ready};

use contracts::messaging::{Availability, read};
use platform::amqp::{Delivery, Handled};

use crate::metrics;
use crate::orders::sold_out::SoldOut;

/// Takes notices in. One that cannot be read is as good as lost.
pub fn handler(sold_out: SoldOut) -> impl Fn(Delivery) -> Ready<Handled> + Send + Sync + 'static {
    move |delivery| {
        match read::<Availability>(&delivery.data) {
            Ok(notice) => sold_out.heard(notice.product_id, notice.sold_out),
            Err(unreadable) => metrics::notice_unreadable(&unreadable.0),
        }
        ready(Handled::Done)
    }
}

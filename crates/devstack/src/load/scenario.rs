//! The sales there are, by name: what each of them is about, and how large it is if nobody says otherwise.

use std::time::Duration;

use clap::ValueEnum;

use super::sale::{Choice, FlashSale};

const ZIPF_EXPONENT: f64 = 1.1;
const LIMIT: i64 = 2;

/// A kind of sale. All of them end in the same verdict about the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Many buyers, few units: exactly so many get one [needs --stock, and --buyers or --seconds]
    #[default]
    Rush,
    /// One buyer asks 10,000 times, each time for another order: he gets the 2 units that are the limit, of 1,000
    OneBuyer,
    /// Every 0.8 s all replies are lost for 0.2 s, so that everybody asks again at once: nobody gets it twice [10 s]
    RetryStorm,
    /// 100 products of 1,000 units, 100,000 buyers, most of whom want the same few (Zipf's law, 1.1)
    Zipf,
    /// 100 units, 10,000 buyers, three of ten successful ones cancel: what comes back is sold again, once
    CancelMix,
    /// 10 minutes at 500 arrivals per second on 20 products, some cancel: does it get slower?
    Soak,
}

/// How large a sale is if nobody says otherwise. `None`: somebody has to, or it does not matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Units of each product.
    pub stock: Option<i64>,
    /// Buyers in all.
    pub buyers: Option<u64>,
    /// Products.
    pub products: u16,
    /// How long it lasts.
    pub lasts: Option<Duration>,
    /// Arrivals per second.
    pub rate_per_second: Option<f64>,
}

impl Scenario {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How large it is if nobody says otherwise.
    #[must_use]
    pub fn size(self) -> Size {
        let rush = Size {
            stock: None,
            buyers: None,
            products: 1,
            lasts: None,
            rate_per_second: None,
        };
        match self {
            Self::Rush => rush,
            Self::OneBuyer => Size {
                stock: Some(1_000),
                buyers: Some(10_000),
                ..rush
            },
            Self::RetryStorm => Size {
                stock: Some(Size::PLENTY),
                lasts: Some(Duration::from_secs(10)),
                ..rush
            },
            Self::Zipf => Size {
                stock: Some(1_000),
                buyers: Some(100_000),
                products: 100,
                ..rush
            },
            Self::CancelMix => Size {
                stock: Some(100),
                buyers: Some(10_000),
                ..rush
            },
            Self::Soak => Size {
                stock: Some(Size::PLENTY),
                products: 20,
                lasts: Some(Duration::from_secs(600)),
                rate_per_second: Some(500.0),
                ..rush
            },
        }
    }

    /// Units that one buyer may own of each product, if that is limited.
    #[must_use]
    pub fn purchase_limit(self) -> Option<i64> {
        (self == Self::OneBuyer).then_some(LIMIT)
    }

    /// Whether replies get lost: the sale has to go by way of a [`super::Storm`].
    #[must_use]
    pub fn is_stormy(self) -> bool {
        self == Self::RetryStorm
    }

    /// A sale of this kind, without its size.
    #[must_use]
    pub fn shape(self, sale: FlashSale) -> FlashSale {
        match self {
            Self::Rush | Self::RetryStorm => sale,
            Self::OneBuyer => FlashSale {
                is_one_buyer: true,
                purchase_limit: self.purchase_limit(),
                ..sale
            },
            Self::Zipf => FlashSale {
                choice: Choice::Zipf(ZIPF_EXPONENT),
                ..sale
            },
            Self::CancelMix => FlashSale {
                cancel_ratio: 0.3,
                ..sale
            },
            Self::Soak => FlashSale {
                choice: Choice::Zipf(ZIPF_EXPONENT),
                // Orders are not cancelled here.
                cancel_ratio: if sale.via.is_by_order() { 0.0 } else { 0.1 },
                ..sale
            },
        }
    }
}

impl Size {
    /// Stock that is never sold out within the longest sale.
    pub const PLENTY: i64 = 1_000_000_000;
}

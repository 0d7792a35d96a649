//! Names of the keys. All of one product carry the same hash tag, so that one script may touch them on a cluster too.

use crate::domain::request::ProductId;

/// Counter, gate hash, sold set and buyers of a product, in the order in which every script takes them.
#[must_use]
pub fn all(product: ProductId) -> [String; 4] {
    [
        format!("stock:{{{product}}}"),
        format!("stock:{{{product}}}:gate"),
        format!("stock:{{{product}}}:sold"),
        format!("stock:{{{product}}}:buyers"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_product_carry_its_hash_tag() {
        assert_eq!(
            all(42),
            [
                "stock:{42}",
                "stock:{42}:gate",
                "stock:{42}:sold",
                "stock:{42}:buyers"
            ]
        );
    }
}

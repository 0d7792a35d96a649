//! The decision against small books, and against random ones.

use proptest::prelude::*;

use super::*;
use crate::domain::request::Quantity;
use crate::domain::rules::SaleRules;

fn key(text: &str) -> RequestId {
    RequestId::new(text).expect("valid")
}

fn books(stock: i64) -> Books {
    let product = ProductRow {
        stock,
        stock_version: i64::from(stock > 0),
        rules: SaleRules::default(),
        locked_at: DateTime::UNIX_EPOCH,
        hot: true,
    };
    Books::of(HashMap::from([(1, product)]))
}

fn buy(id: &str, order_id: i64, quantity: i64, buyer: Option<&str>) -> StockRequest {
    StockRequest::Decrease(Decrease {
        product: 1,
        request_id: key(id),
        order_id,
        buyer: buyer.map(|buyer| BuyerId::new(buyer).expect("valid")),
        quantity: Quantity::new(quantity).expect("valid"),
    })
}

fn void(id: &str, voids: &str, order_id: i64, quantity: i64) -> StockRequest {
    StockRequest::Increase(Increase {
        product: 1,
        request_id: key(id),
        voids: key(voids),
        order_id,
        quantity: Quantity::new(quantity).expect("valid"),
        reason: IncreaseReason::OrderFailed,
    })
}

fn adjust(id: &str, delta: i64) -> StockRequest {
    StockRequest::Adjust(Adjust {
        product: 1,
        request_id: key(id),
        delta,
        reason: AdjustReason::Manual,
        note: None,
    })
}

#[test]
fn a_twin_in_the_same_batch_replays_and_another_payload_is_refused() {
    let mut books = books(5);
    assert_eq!(books.decide(&buy("DEC-1", 1, 2, None)).verdict, Verdict::Done);
    let twin = books.decide(&buy("DEC-1", 1, 2, None));
    assert_eq!((twin.verdict, twin.stock), (Verdict::Replay, 3));
    assert_eq!(twin.fact.expect("hot").version, 2);
    assert_eq!(
        books.decide(&buy("DEC-1", 1, 3, None)).verdict,
        Verdict::KeyReused
    );
    assert_eq!(
        books.decide(&buy("DEC-1", 2, 2, None)).verdict,
        Verdict::KeyReused
    );
    assert_eq!(books.decide(&adjust("DEC-1", -2)).verdict, Verdict::KeyReused);
    assert_eq!(books.new_rows.len(), 1);
}

#[test]
fn a_void_gives_back_exactly_what_was_taken_and_only_once() {
    let mut books = books(5);
    books.decide(&buy("DEC-1", 1, 2, None));
    assert_eq!(
        books.decide(&void("INC-1", "DEC-1", 1, 3)).verdict,
        Verdict::Mismatch
    );
    let first = books.decide(&void("INC-1", "DEC-1", 1, 2));
    assert_eq!((first.verdict, first.stock), (Verdict::Done, 5));
    assert_eq!(first.fact.expect("hot").settles, Some(key("DEC-1")));
    assert_eq!(
        books.decide(&void("INC-1", "DEC-1", 1, 2)).verdict,
        Verdict::Replay
    );
    let second = books.decide(&void("again", "DEC-1", 1, 2));
    assert_eq!(
        (second.verdict, second.stock, second.fact),
        (Verdict::Done, 5, None)
    );
    assert_eq!(books.decide(&buy("DEC-1", 1, 2, None)).verdict, Verdict::Voided);
    assert_eq!(books.products[&1].stock, 5);
}

#[test]
fn a_void_before_its_decrease_refuses_the_late_one() {
    let mut books = books(5);
    assert_eq!(books.decide(&void("INC-1", "DEC-1", 1, 2)).verdict, Verdict::Done);
    assert_eq!(books.decide(&buy("DEC-1", 1, 2, None)).verdict, Verdict::Voided);
    assert_eq!(
        (
            books.products[&1].stock,
            books.new_rows.len(),
            books.new_tombstones.len()
        ),
        (5, 0, 1)
    );
}

#[test]
fn a_key_that_voids_can_neither_buy_nor_be_voided() {
    let mut books = books(5);
    books.decide(&void("INC-1", "DEC-1", 1, 2));
    assert_eq!(
        books.decide(&buy("INC-1", 1, 2, None)).verdict,
        Verdict::KeyReused
    );
    assert_eq!(
        books.decide(&void("other", "INC-1", 1, 2)).verdict,
        Verdict::Mismatch
    );
    assert_eq!(
        books.decide(&void("DEC-1", "else", 1, 2)).verdict,
        Verdict::KeyReused
    );
}

#[test]
fn limits_count_what_the_buyer_owns_and_voids_return_it() {
    let mut books = books(9);
    books.products.get_mut(&1).expect("there").rules.purchase_limit = Some(2);
    assert_eq!(
        books.decide(&buy("a", 1, 1, None)).verdict,
        Verdict::BuyerRequired
    );
    assert_eq!(books.decide(&buy("a", 1, 2, Some("kim"))).verdict, Verdict::Done);
    assert_eq!(books.decide(&buy("b", 2, 1, Some("kim"))).verdict, Verdict::Limit);
    assert_eq!(books.decide(&buy("c", 3, 1, Some("lee"))).verdict, Verdict::Done);
    books.decide(&void("va", "a", 1, 2));
    assert_eq!(books.decide(&buy("b", 2, 1, Some("kim"))).verdict, Verdict::Done);
}

#[test]
fn what_is_not_for_sale_can_still_be_voided() {
    let mut books = books(3);
    books.decide(&buy("DEC-1", 1, 1, None));
    books.products.get_mut(&1).expect("there").rules.discontinued = true;
    assert_eq!(
        books.decide(&buy("DEC-2", 2, 1, None)).verdict,
        Verdict::Discontinued
    );
    assert_eq!(books.decide(&buy("DEC-1", 1, 1, None)).verdict, Verdict::Replay);
    assert_eq!(books.decide(&void("INC-1", "DEC-1", 1, 1)).stock, 3);
}

#[test]
fn stock_stays_within_its_range() {
    let mut books = books(3);
    assert_eq!(books.decide(&adjust("a", -4)).verdict, Verdict::Insufficient);
    assert_eq!(books.decide(&adjust("a", STOCK_MAX)).verdict, Verdict::Overflow);
    assert_eq!(books.decide(&adjust("a", STOCK_MAX - 3)).stock, STOCK_MAX);
}

fn any_request() -> impl Strategy<Value = StockRequest> {
    let id = 0..6_i64;
    prop_oneof![
        (id.clone(), 1..4_i64, prop::bool::ANY).prop_map(|(order, quantity, same)| {
            buy(
                &format!("DEC-{order}"),
                order,
                if same { order % 3 + 1 } else { quantity },
                None,
            )
        }),
        (id, 1..4_i64, prop::bool::ANY).prop_map(|(order, quantity, same)| {
            let quantity = if same { order % 3 + 1 } else { quantity };
            void(&format!("INC-{order}"), &format!("DEC-{order}"), order, quantity)
        }),
        (0..6_i64, -3..4_i64).prop_filter_map("not 0", |(id, delta)| {
            (delta != 0).then(|| adjust(&format!("ADJ-{id}"), delta))
        }),
    ]
}

proptest! {
    /// Whatever arrives in whatever order: rows are gapless and add up, each request id moved stock at most once, and
    /// a decrease owns its units unless it was voided.
    #[test]
    fn the_books_balance(stock in 1..8_i64, requests in prop::collection::vec(any_request(), 1..80)) {
        let mut books = books(stock);
        for request in &requests {
            let before = books.products[&1].stock;
            let rows = books.new_rows.len();
            let decision = books.decide(request);
            let moved = books.new_rows[rows..].iter().map(signed).sum::<i64>();
            prop_assert_eq!(books.products[&1].stock, before + moved);
            if decision.verdict != Verdict::Done {
                prop_assert_eq!(books.new_rows.len(), rows, "{:?}", decision);
            }
        }
        let mut balance = stock;
        for (index, row) in books.new_rows.iter().enumerate() {
            balance += signed(row);
            prop_assert_eq!(row.balance_after, balance);
            prop_assert!(balance >= 0);
            prop_assert_eq!(row.stock_version, 2 + i64::try_from(index).expect("small"));
        }
        let ids: HashSet<_> = books.new_rows.iter().map(|row| &row.request_id).collect();
        prop_assert_eq!(ids.len(), books.new_rows.len());
        for order in 0..6_i64 {
            let net: i64 = books.new_rows.iter().filter(|row| row.order_id == Some(order)).map(signed).sum();
            prop_assert!(net <= 0, "order {} created stock", order);
            if books.voided.contains(&key(&format!("DEC-{order}"))) {
                prop_assert_eq!(net, 0);
            }
        }
    }
}

//! Tests of the table `reservations`.

use super::*;
use crate::store::reservations::{ReservationStatus, close, insert};

#[tokio::test]
async fn only_an_open_reservation_can_be_closed() {
    let pool = create_database().await;
    let mut connection = pool.acquire().await.unwrap();
    let quantities = needs(&[(PAPER, 3), (TONER, 1)]);
    for (order_id, id, closed, name) in [
        (
            "ord_1",
            "res_1",
            ReservationStatus::Dispatched,
            "DISPATCHED",
        ),
        ("ord_2", "res_2", ReservationStatus::Released, "RELEASED"),
    ] {
        let status = ReservationStatus::Reserved;
        let inserted = insert(&mut connection, order_id, status, &quantities, at(9)).await;
        assert_eq!(inserted.unwrap(), id);
        let needs = close(&mut connection, order_id, closed, at(10)).await;
        assert_eq!(needs.unwrap(), quantities);

        let again = close(&mut connection, order_id, closed, at(11)).await;
        assert!(matches!(again, Err(sqlx::Error::RowNotFound)), "{again:?}");
        let row: (String, DateTime<Utc>, DateTime<Utc>) = sqlx::query_as(
            "SELECT status, created_at, updated_at FROM reservations WHERE order_id = $1",
        )
        .bind(order_id)
        .fetch_one(&pool)
        .await
        .unwrap();
        assert_eq!(row, (name.into(), at(9), at(10)));
    }

    let status = ReservationStatus::Failed;
    let failed = insert(&mut connection, "ord_3", status, &quantities, at(9)).await;
    assert_eq!(failed.unwrap(), "res_3");
    for order_id in ["ord_3", "ord_4"] {
        let status = ReservationStatus::Released;
        let closed = close(&mut connection, order_id, status, at(10)).await;
        assert!(
            matches!(closed, Err(sqlx::Error::RowNotFound)),
            "{order_id}: {closed:?}"
        );
    }
    let status = ReservationStatus::Reserved;
    let second = insert(&mut connection, "ord_3", status, &quantities, at(10)).await;
    assert_error_code(second, UNIQUE_VIOLATION);
}

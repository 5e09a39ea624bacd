//! Letters to those who are told of jobs.

use super::SqliteStore;
use super::tables::{Tx, documents, one, parse, rows, text};
use crate::store::{DELIVERIES_KEPT, Delivery, DeliveryFilter, Due, LeaseLost, Letter, Notice, Outbox, Result, Settled, StoreError, Told};
use jiff::Timestamp;
use rusqlite::{Connection, Row, ToSql, params};

const DUE: &str = "SELECT delivery, told FROM deliveries INDEXED BY deliveries_due WHERE state = 0 AND due <= ?1 ORDER BY due, id LIMIT ?2";

#[async_trait::async_trait]
impl Outbox for SqliteStore {
    async fn take_due(&self, max: usize, until: Timestamp, now: Timestamp) -> Result<Vec<Due>> {
        let (at, max) = (now.as_millisecond(), max as i64);
        // Asked every second: as a rule there is nothing to write.
        if self.read(move |c| rows(c, DUE, &[&at, &1], |_| Ok(()))).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.write(move |tx| {
            let mut taken =
                rows(tx.connection, DUE, &[&at, &max], texts)?.into_iter().map(|row| due(tx.connection, row)).collect::<Result<Vec<_>>>()?;
            for due in &mut taken {
                due.delivery.take(until);
                save(tx, &due.delivery)?;
            }
            Ok(taken)
        })
        .await
    }

    async fn settle(&self, settled: Settled, now: Timestamp) -> Result<std::result::Result<(), LeaseLost>> {
        self.write(move |tx| {
            let known = find(tx.connection, &settled.delivery.id)?.delivery;
            if known.taken != settled.delivery.taken || !known.is_pending() {
                return Ok(Err(LeaseLost));
            }
            if let Some(url) = settled.switched_off {
                tx.execute("INSERT OR IGNORE INTO endpoints_off VALUES (?1, ?2)", params![url, now.as_millisecond()])?;
            }
            save(tx, &settled.delivery).map(Ok)
        })
        .await
    }

    async fn deliveries(&self, filter: DeliveryFilter) -> Result<Vec<Delivery>> {
        self.read(move |c| {
            let (state, about) = (filter.state.map(|s| s as i64), filter.about());
            // No index serves every combination: each has a text of its own.
            let mut sql = "SELECT delivery FROM deliveries WHERE id < ?1".to_owned();
            let before = filter.before.unwrap_or_else(|| "~".into());
            let mut values: Vec<&dyn ToSql> = vec![&before];
            for (column, value) in [("state", state.as_ref().map(|s| s as &dyn ToSql)), ("job", about.as_ref().map(|id| id as &dyn ToSql))] {
                if let Some(value) = value {
                    values.push(value);
                    sql += &format!(" AND {column} = ?{}", values.len());
                }
            }
            documents(c, &format!("{sql} ORDER BY id DESC LIMIT {}", filter.limit.clamp(1, 500)), &values)
        })
        .await
    }

    async fn delivery(&self, id: &str) -> Result<Due> {
        let id = id.to_owned();
        self.read(move |c| find(c, &id)).await
    }

    async fn replay(&self, id: &str, now: Timestamp) -> Result<Delivery> {
        let id = id.to_owned();
        self.write(move |tx| {
            let mut delivery = find(tx.connection, &id)?.delivery;
            delivery.replay(now);
            if let Some(url) = delivery.url() {
                tx.execute("DELETE FROM endpoints_off WHERE url = ?1", [url])?;
            }
            save(tx, &delivery)?;
            tx.notice(Notice::Delivery);
            Ok(delivery)
        })
        .await
    }
}

/// Writes what a transition tells.
pub fn write(tx: &mut Tx<'_>, letters: impl IntoIterator<Item = Letter>) -> Result<()> {
    for Letter { delivery, told } in letters {
        let due = delivery.next_try.unwrap_or(delivery.at).as_millisecond();
        let row = params![delivery.id, delivery.state as i64, due, delivery.about(), text(&delivery)?, text(&told)?];
        tx.execute("INSERT INTO deliveries VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row)?;
        tx.notice(Notice::Delivery);
    }
    Ok(())
}

/// Forgets the ended ones that are past their time.
pub fn purge(tx: &Tx<'_>, now: Timestamp) -> Result<()> {
    let before = Delivery::first_id(now.saturating_sub(DELIVERIES_KEPT).unwrap_or(Timestamp::MIN));
    tx.execute("DELETE FROM deliveries WHERE id < ?1 AND state > 0", [before]).map(drop)
}

fn save(tx: &Tx<'_>, delivery: &Delivery) -> Result<()> {
    let due = delivery.next_try.map_or(0, Timestamp::as_millisecond);
    let sql = "UPDATE deliveries SET state = ?2, due = ?3, delivery = ?4 WHERE id = ?1";
    tx.execute(sql, params![delivery.id, delivery.state as i64, due, text(delivery)?]).map(drop)
}

fn find(connection: &Connection, id: &str) -> Result<Due> {
    let row = one(connection, "SELECT delivery, told FROM deliveries WHERE id = ?1", &[&id], texts)?;
    due(connection, row.ok_or(StoreError::NotFound("delivery"))?)
}

fn texts(row: &Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn due(connection: &Connection, (delivery, told): (String, String)) -> Result<Due> {
    let delivery: Delivery = parse(&delivery)?;
    let off = one(connection, "SELECT 1 FROM endpoints_off WHERE url = ?1", &[&delivery.url()], |_| Ok(()))?;
    Ok(Due { told: Told::read(&delivery, &told)?, is_off: off.is_some(), delivery })
}

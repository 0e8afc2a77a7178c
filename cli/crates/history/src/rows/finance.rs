//! Rows of expenses.

use dm_contracts::events::{ExpenseDecided, ExpenseSubmitted};
use dm_contracts::topology::WUPHF_QUEUE;

use super::copy_format::CopyRow;
use super::events::{EventCause, EventKey, NotificationContent};
use super::table::{HistoryTable, ServiceName};
use super::{EVENTS_PER_EXPENSE, NOTIFICATIONS_PER_ORDER, RowWriter, TableRows};
use crate::model::Expense;

/// The kind in [`EventKey`].
const EXPENSE_KIND: u64 = 2;

impl RowWriter {
    pub(super) fn write_expense(&self, rows: &mut TableRows, expense: &Expense) {
        let id = format!("exp_{}", self.sequence_starts.expense + expense.index);
        let decision = expense.decision.as_ref();
        rows.begin_row(HistoryTable::Expenses)
            .unescaped(&id)
            .text(&expense.submitter)
            .text(&expense.category)
            .unescaped(expense.amount)
            .text(&expense.currency)
            .text(&expense.description)
            .unescaped(expense.status())
            .instant(expense.created_at)
            .optional(
                decision.map(|decision| decision.decided_by.as_str()),
                CopyRow::text,
            )
            .optional(
                decision.map(|decision| decision.decided_at),
                CopyRow::instant,
            )
            .optional(
                decision.map(|decision| decision.comment.as_str()),
                CopyRow::text,
            );
        let key = |step| EventKey {
            kind: EXPENSE_KIND,
            index: expense.index,
            step,
        };
        let sequence = self.sequence_starts.finance_event + expense.index * EVENTS_PER_EXPENSE;
        let submitted = ExpenseSubmitted {
            expense_id: id.clone(),
            submitter_user_id: expense.submitter.clone(),
            amount: expense.amount,
            currency: expense.currency.clone(),
            submitted_at: expense.created_at,
        };
        let submitted = self.write_outbox_event(
            rows,
            (ServiceName::Finance, sequence, key(0)),
            &submitted,
            (EventCause::Request, expense.created_at),
            None,
        );
        // wuphf processes the event without creating a notification.
        self.write_inbox_event(rows, ServiceName::Wuphf, WUPHF_QUEUE, &submitted);
        let Some(decision) = decision else {
            return;
        };
        let decided = ExpenseDecided {
            expense_id: id.clone(),
            submitter_user_id: expense.submitter.clone(),
            decision: expense.status().to_owned(),
            decided_by: decision.decided_by.clone(),
            comment: decision.comment.clone(),
            decided_at: decision.decided_at,
        };
        let event = self.write_outbox_event(
            rows,
            (ServiceName::Finance, sequence + 1, key(1)),
            &decided,
            (EventCause::Request, decision.decided_at),
            None,
        );
        let ExpenseDecided {
            decision: status,
            decided_by,
            ..
        } = decided;
        let notification = NotificationContent {
            user: expense.submitter.clone(),
            kind: "EXPENSE_DECIDED",
            title: format!("Expense {id} {status}"),
            body: format!("Expense {id} was marked {status} by {decided_by}."),
            deep_link: format!("/accounting?expenseId={id}"),
            created_at: decision.decided_at,
        };
        let offset = self.counts.orders * NOTIFICATIONS_PER_ORDER + expense.index;
        self.write_notification(rows, (offset, key(2)), notification, &event);
    }
}

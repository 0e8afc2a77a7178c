//! Expenses.

use dm_contracts::events::{ExpenseDecided, ExpenseSubmitted};
use dm_contracts::topology::WUPHF_QUEUE;

use super::copy_format::CopyRow;
use super::events::{EventCause, EventKey, NotificationContent};
use super::table::{HistoryTable, ServiceName};
use super::{EVENTS_PER_EXPENSE, NOTIFICATIONS_PER_ORDER, RowWriter, TableRows};
use crate::model::Expense;

/// Among the kinds of facts.
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
            .optional(decision.map(|it| it.decided_by.as_str()), CopyRow::text)
            .optional(decision.map(|it| it.decided_at), CopyRow::instant)
            .optional(decision.map(|it| it.comment.as_str()), CopyRow::text);
        let place = |step| EventKey {
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
            (ServiceName::Finance, sequence, place(0)),
            &submitted,
            (EventCause::Request, expense.created_at),
            None,
        );
        // It tells nobody, and is handled all the same.
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
            (ServiceName::Finance, sequence + 1, place(1)),
            &decided,
            (EventCause::Request, decision.decided_at),
            None,
        );
        let ExpenseDecided {
            decision: word,
            decided_by: by,
            ..
        } = decided;
        let telling = NotificationContent {
            user: expense.submitter.clone(),
            kind: "EXPENSE_DECIDED",
            title: format!("Expense {id} {word}"),
            body: format!("Expense {id} was marked {word} by {by}."),
            deep_link: format!("/accounting?expenseId={id}"),
            created_at: decision.decided_at,
        };
        let offset = self.counts.orders * NOTIFICATIONS_PER_ORDER + expense.index;
        self.write_notification(rows, (offset, place(2)), telling, &event);
    }
}

//! Expenses.

use dm_contracts::events::{ExpenseDecided, ExpenseSubmitted};
use dm_contracts::topology::WUPHF_QUEUE;

use super::copy::Line;
use super::events::{Cause, Place, Telling};
use super::table::{Service, Table};
use super::{Clerk, EXPENSE_EVENTS, NOTIFICATIONS, Rows};
use crate::facts::Expense;

/// Among the kinds of facts.
const EXPENSE: u64 = 2;

impl Clerk {
    pub(super) fn expense(&self, rows: &mut Rows, expense: &Expense) {
        let id = format!("exp_{}", self.first.expense + expense.index);
        let decision = expense.decision.as_ref();
        rows.line(Table::Expenses)
            .plain(&id)
            .text(&expense.submitter)
            .text(&expense.category)
            .plain(expense.amount)
            .text(&expense.currency)
            .text(&expense.description)
            .plain(expense.status())
            .instant(expense.created_at)
            .maybe(decision.map(|it| it.by.as_str()), Line::text)
            .maybe(decision.map(|it| it.at), Line::instant)
            .maybe(decision.map(|it| it.comment.as_str()), Line::text);
        let place = |step| Place {
            kind: EXPENSE,
            index: expense.index,
            step,
        };
        let sequence = self.first.finance_event + expense.index * EXPENSE_EVENTS;
        let submitted = ExpenseSubmitted {
            expense_id: id.clone(),
            submitter_user_id: expense.submitter.clone(),
            amount: expense.amount,
            currency: expense.currency.clone(),
            submitted_at: expense.created_at,
        };
        let submitted = self.tell(
            rows,
            (Service::Finance, sequence, place(0)),
            &submitted,
            (Cause::Request, expense.created_at),
            None,
        );
        // It tells nobody, and is handled all the same.
        self.handled(rows, Service::Wuphf, WUPHF_QUEUE, &submitted);
        let Some(decision) = decision else {
            return;
        };
        let decided = ExpenseDecided {
            expense_id: id.clone(),
            submitter_user_id: expense.submitter.clone(),
            decision: expense.status().to_owned(),
            decided_by: decision.by.clone(),
            comment: decision.comment.clone(),
            decided_at: decision.at,
        };
        let event = self.tell(
            rows,
            (Service::Finance, sequence + 1, place(1)),
            &decided,
            (Cause::Request, decision.at),
            None,
        );
        let ExpenseDecided {
            decision: word,
            decided_by: by,
            ..
        } = decided;
        let telling = Telling {
            user: expense.submitter.clone(),
            kind: "EXPENSE_DECIDED",
            title: format!("Expense {id} {word}"),
            body: format!("Expense {id} was marked {word} by {by}."),
            deep_link: format!("/accounting?expenseId={id}"),
            created_at: decision.at,
        };
        let offset = self.counts.orders * NOTIFICATIONS + expense.index;
        self.notify(rows, (offset, place(2)), telling, &event);
    }
}

//! Expenses by clicking, in Accounting.

use libtest_mimic::Failed;

use super::page::Role::{Button, Dialog, Link};
use super::page::{BADGE, MESSAGE};
use super::{BAD_REQUEST, MANAGER, browse, id_in};

/// A rejection without a comment shows the service's message at the comment. With one it decides
/// the expense.
pub(crate) fn expense_is_rejected_only_with_a_comment() -> Result<(), Failed> {
    browse(async |page| {
        page.open("/accounting").await?;
        page.sign_in(MANAGER).await?;
        page.click(Link, "New expense").await?;
        page.find(Dialog, "New expense").await?;
        page.fill("Category", "MEALS").await?;
        page.fill("Amount", "18.50").await?;
        page.fill("Description", "Pretzels for the sales team")
            .await?;
        page.click(Button, "Submit expense").await?;
        let message = page.see(MESSAGE, "Expense exp_…").await?;
        assert!(message.ends_with(" was submitted."), "{message}");
        let expense = id_in(&message)?;

        page.click(Link, &expense).await?;
        page.find(Dialog, &format!("Expense {expense}")).await?;
        page.see(BADGE, "Pending").await?;
        page.click(Button, "Reject").await?;
        assert_eq!(page.issue("Comment").await?, "required for REJECTED");
        page.assert_no_errors(&[BAD_REQUEST]).await?;
        page.see(BADGE, "Pending").await?;

        page.fill("Comment", "Pretzel Day is free").await?;
        page.click(Button, "Reject").await?;
        page.see(BADGE, "Rejected").await?;
        page.wait_until_gone(Button, "Reject").await
    })
}

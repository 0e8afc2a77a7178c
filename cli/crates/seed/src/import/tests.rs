//! Tests of imports from files.

use std::fs;

use dm_contracts::validation;
use dm_history::model::{ClientRef, LeadOutcome};
use rust_decimal::Decimal;

use super::{ImportedData, ReferenceData, ValidationIssue};
use crate::SeedError;

fn reference_data() -> ReferenceData {
    let many = (0..=validation::MAX_ORDER_ITEMS).map(|index| format!("S{index}"));
    let long = [validation::MAX_SKU_LENGTH, validation::MAX_SKU_LENGTH + 1]
        .map(|length| "X".repeat(length));
    let few = ["A".to_owned(), "B".to_owned()];
    ReferenceData {
        skus: many.chain(long).chain(few).collect(),
        client_ids: ["client_7001".to_owned()].into(),
    }
}

fn load_files(files: &[(&str, &str)]) -> Result<ImportedData, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    ImportedData::load(directory.path(), &reference_data()).map_err(|error| match error {
        SeedError::InvalidImport(issues) => issues
            .iter()
            .map(|issue| {
                let prefix = format!("{}/", directory.path().display());
                issue.to_string().replacen(&prefix, "", 1)
            })
            .collect(),
        other => panic!("{other}"),
    })
}

const LEADS: &str = "company,contact,email,phone,seller,created_at,status,updated_at\n\
    Voss Legal,G. Voss,g@voss.example,570,jhalpert,2026-02-03T10:00:00Z,CONVERTED,2026-02-04T10:00:00Z\n\
    Tate Inc,J. Tate,j@tate.example,570,jhalpert,2026-02-01T10:00:00Z,NEW,\n";

#[test]
fn load_returns_records_in_chronological_order() {
    let orders = "client,seller,created_at,ship_date,items,status,shipped_at,shipped_by,truck\n\
        client_7001,jhalpert,2026-03-02T10:00:00Z,2026-03-09,B:1,,,,\n\
        Voss Legal,jhalpert,2026-03-01T10:00:00Z,2026-03-09,A:2;B:1,SHIPPED,2026-03-03T10:00:00Z,dphilbin,t\n";
    let expenses = r#"[{"submitter": "jhalpert", "category": "MEALS", "amount": 12.50,
        "description": "Lunch", "created_at": "2026-02-03T10:00:00Z"}]"#;
    let import = load_files(&[
        ("leads.csv", LEADS),
        ("orders.csv", orders),
        ("expenses.json", expenses),
    ])
    .unwrap();
    let history = &import.history;
    assert_eq!(history.leads[0].company, "Tate Inc");
    assert_eq!(
        history.leads[1].outcome,
        LeadOutcome::Converted { client_index: 0 }
    );
    assert_eq!(history.orders[0].client, ClientRef::InRun(0));
    assert_eq!(history.orders[0].outcome.status(), "SHIPPED");
    assert_eq!(
        history.orders[1].client,
        ClientRef::Existing("client_7001".into())
    );
    assert_eq!(history.expenses[0].amount, Decimal::new(1250, 2));
    assert_eq!(import.counts().max_items, 2);
}

/// Returns the issues of a file in which one value of a valid record is replaced.
fn issues_of(file: &str, column: &str, value: &str) -> Vec<String> {
    let valid: &[(&str, &str)] = match file {
        "leads" => &[
            ("company", "Voss Legal"),
            ("contact", "G. Voss"),
            ("email", "g@voss.example"),
            ("phone", "570"),
            ("seller", "jhalpert"),
            ("created_at", "2026-02-03T10:00:00Z"),
            ("notes", ""),
        ],
        "orders" => &[
            ("client", "client_7001"),
            ("seller", "jhalpert"),
            ("created_at", "2026-02-03T10:00:00Z"),
            ("ship_date", "2026-02-09"),
            ("items", "A:1"),
            ("notes", ""),
            ("status", "SHIPPED"),
            ("shipped_at", "2026-02-04T10:00:00Z"),
            ("shipped_by", "dphilbin"),
            ("truck", "t"),
        ],
        _ => &[
            ("submitter", "jhalpert"),
            ("category", "MEALS"),
            ("amount", "12.50"),
            ("description", "Lunch"),
            ("created_at", "2026-02-03T10:00:00Z"),
            ("currency", "usd"),
            ("status", "REJECTED"),
            ("decided_by", "amartin"),
            ("decided_at", "2026-02-04T10:00:00Z"),
            ("comment", "no"),
        ],
    };
    let names: Vec<&str> = valid.iter().map(|(name, _)| *name).collect();
    assert!(names.contains(&column), "{file} {column}");
    let values = valid
        .iter()
        .map(|(name, default)| if *name == column { value } else { default });
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(&names).unwrap();
    writer.write_record(values).unwrap();
    let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
    load_files(&[(&format!("{file}.csv"), &text)])
        .err()
        .unwrap_or_default()
}

#[test]
fn load_rejects_values_that_a_service_rejects() {
    let long = "x".repeat(9000);
    for (file, column, value, reason) in [
        (
            "leads",
            "email",
            "nobody",
            "`nobody` is not an e-mail address",
        ),
        (
            "leads",
            "created_at",
            "0000-01-01T00:00:00Z",
            "is not an instant",
        ),
        (
            "leads",
            "created_at",
            "+12026-01-01T00:00:00Z",
            "is not an instant",
        ),
        (
            "leads",
            "created_at",
            "-0001-01-01T00:00:00Z",
            "is not an instant",
        ),
        (
            "leads",
            "created_at",
            "0001-01-01T00:00:00+14:00",
            "is not an instant",
        ),
        (
            "leads",
            "seller",
            &long,
            "9000 characters, and at most 255 are allowed",
        ),
        ("leads", "phone", "5\0", "a NUL character"),
        ("leads", "seller", "j\u{7}h", "no control characters"),
        ("orders", "shipped_by", "d\np", "no control characters"),
        ("expenses", "decided_by", "a\0m", "a NUL character"),
        ("orders", "seller", &long, "9000 characters"),
        ("orders", "ship_date", "2026-2-3", "is not a date"),
        ("orders", "ship_date", "0000-01-01", "is not a date"),
        ("orders", "ship_date", "+12026-01-01", "is not a date"),
        ("orders", "ship_date", "-0001-01-01", "is not a date"),
        ("orders", "ship_date", "2026-02-30", "is not a date"),
        ("orders", "items", "A:+1", "is not a quantity"),
        ("orders", "items", "A:1_0", "is not a quantity"),
        ("orders", "items", "A:99999999999", "is not a quantity"),
        ("orders", "items", "A:1.0", "is not a quantity"),
        ("orders", "items", ";;", "missing"),
        ("expenses", "submitter", &long, "9000 characters"),
        ("expenses", "amount", "1_000", "`1_000` is not an amount"),
        ("expenses", "amount", "+5", "is not an amount"),
        ("expenses", "amount", "5.", "is not an amount"),
        ("expenses", "amount", ".5", "is not an amount"),
        ("expenses", "amount", "05", "is not an amount"),
        ("expenses", "amount", "1,000", "is not an amount"),
        ("expenses", "amount", "NaN", "is not an amount"),
        ("expenses", "amount", "1e400", "is not an amount"),
        ("expenses", "amount", "-5", "greater than 0"),
        ("expenses", "amount", "0", "greater than 0"),
        ("expenses", "amount", "0.001", "greater than 0"),
        ("expenses", "amount", "1.005", "more than two decimals"),
        ("expenses", "amount", "10000000000", "at most 9999999999.99"),
    ] {
        let issues = issues_of(file, column, value);
        let [issue] = issues.as_slice() else {
            panic!("{file} {column} {value}: {issues:?}");
        };
        assert!(
            issue.starts_with(&format!("{file}.csv:2: {column}: ")) && issue.contains(reason),
            "{value}: {issue}"
        );
    }
}

#[test]
fn load_applies_the_length_limits_of_the_services() {
    type Make = fn(usize) -> String;
    let text: Make = |length| "ü".repeat(length);
    let email: Make = |length| format!("@{}", "ü".repeat(length - 1));
    let sku: Make = |length| format!("{}:1", "X".repeat(length));
    let lines: Make = |count| (0..count).map(|index| format!("S{index}:1;")).collect();
    // All columns but `client`, which is looked up: a client with a longer name does not exist.
    for (file, columns) in [
        (
            "leads",
            &[
                ("company", text, 200),
                ("contact", text, 200),
                ("email", email, 320),
                ("phone", text, 200),
                ("seller", text, 255),
                ("notes", text, 4000),
            ][..],
        ),
        (
            "orders",
            &[
                ("seller", text, 255),
                ("notes", text, 4000),
                ("shipped_by", text, 255),
                ("truck", text, 100),
                ("items", sku, 100),
                ("items", lines, 1000),
            ],
        ),
        (
            "expenses",
            &[
                ("submitter", text, 255),
                ("category", text, 100),
                ("description", text, 2000),
                ("currency", text, 10),
                ("decided_by", text, 255),
                ("comment", text, 2000),
            ],
        ),
    ] {
        for &(column, make, maximum) in columns {
            let issues = issues_of(file, column, &make(maximum));
            assert!(issues.is_empty(), "{file} {column} {maximum}: {issues:?}");
            let issues = issues_of(file, column, &make(maximum + 1));
            let [issue] = issues.as_slice() else {
                panic!("{file} {column} {maximum}: {issues:?}");
            };
            let prefix = format!("{file}.csv:2: {column}: ");
            let length = (maximum + 1).to_string();
            let limit = format!("at most {maximum} are allowed");
            assert!(issue.starts_with(&prefix), "{issue}");
            assert!(issue.contains(&length), "{issue}");
            assert!(issue.contains(&limit), "{issue}");
        }
    }
}

#[test]
fn load_accepts_values_that_a_service_accepts() {
    for (file, column, value) in [
        ("leads", "email", "o'brien+x@localhost"),
        ("leads", "company", "12\" pipes, \\N \t and\nmore"),
        ("leads", "created_at", "2026-02-03T10:00:00.123456789+02:00"),
        ("orders", "ship_date", "9999-12-31"),
        ("orders", "items", " A : 1 ; B:2;"),
        ("expenses", "amount", "1e3"),
        ("expenses", "amount", "9999999999.99"),
        ("expenses", "amount", "12.500"),
    ] {
        let issues = issues_of(file, column, value);
        assert!(issues.is_empty(), "{value}: {issues:?}");
    }
}

#[test]
fn company_names_are_compared_in_unicode_normal_form() {
    let leads = LEADS
        .replace("Tate Inc", "Caf\u{e9}")
        .replace("Voss Legal", "Cafe\u{301}");
    let issues = load_files(&[("leads.csv", &leads)]).unwrap_err();
    assert_eq!(issues, ["leads.csv:3: company: it is already in line 2"]);
    let leads = LEADS.replace("Voss Legal", "Cafe\u{301}");
    let orders = "client,seller,created_at,ship_date,items\n\
        Caf\u{e9},jhalpert,2026-03-01T10:00:00Z,2026-03-09,A:2\n";
    let import = load_files(&[("leads.csv", &leads), ("orders.csv", orders)]).unwrap();
    assert_eq!(import.history.orders[0].client, ClientRef::InRun(0));
    assert_eq!(import.history.leads[1].company, "Cafe\u{301}");
}

#[test]
fn load_rejects_json_values_of_the_wrong_type() {
    let expense = r#"{"submitter": "jhalpert", "category": "MEALS", "amount": 1,
        "description": "Lunch", "created_at": "2026-02-03T10:00:00Z"}"#;
    for (valid, invalid, reason) in [
        (
            "\"MEALS\"",
            "{\"a\": 1}",
            "category: expected a text, found an object",
        ),
        (
            "\"MEALS\"",
            "7",
            "category: expected a text, found a number",
        ),
        (
            "\"MEALS\"",
            "true",
            "category: expected a text, found true or false",
        ),
        (
            "\"MEALS\"",
            "[\"MEALS\"]",
            "category: expected a text, found a list of something else",
        ),
        (
            ": 1,",
            ": \"1\",",
            "amount: expected a number, found a text",
        ),
        (": 1,", ": [],", "amount: expected a number, found a list"),
        (": 1,", ": 1, \"amount\": 2,", "amount: duplicate key"),
    ] {
        let text = format!("[{}]", expense.replacen(valid, invalid, 1));
        let issues = load_files(&[("expenses.json", &text)]).unwrap_err();
        assert_eq!(issues.len(), 1, "{issues:?}");
        assert!(issues[0].contains(reason), "{issues:?}");
    }
}

#[test]
fn issues_in_a_file_of_one_line_have_the_character() {
    let expense = |amount: &str| {
        format!(
            r#"{{"submitter": "ü", "category": "MEALS", "amount": {amount}, "description": "x", "created_at": "2026-02-03T10:00:00Z"}}"#
        )
    };
    let text = format!("[{}, {}, {}]", expense("1"), expense("0"), expense("-1"));
    let issues = load_files(&[("expenses.json", &text)]).unwrap_err();
    let keys = text.match_indices("\"amount\"").skip(1);
    let expected = keys.map(|(offset, _)| {
        let character = 1 + text[..offset].chars().count();
        format!("expenses.json:1:{character}: amount: must be greater than 0")
    });
    assert_eq!(issues, expected.collect::<Vec<_>>());
    let lead = r#"{"company": "A", "contact": "x", "email": "a@b", "phone": "1", "seller": "x", "created_at": "2026-02-03T10:00:00Z"}"#;
    let issues = load_files(&[("leads.json", &format!("[{lead}, {lead}]"))]).unwrap_err();
    assert_eq!(
        issues,
        ["leads.json:1:120: company: it is already in line 1:2"]
    );
}

#[test]
fn row_that_postgresql_rejects_is_located_in_its_file() {
    let orders = "client,seller,created_at,ship_date,items\n\
        client_7001,jhalpert,2026-03-02T10:00:00Z,2026-03-09,B:1\n";
    let import = load_files(&[("leads.csv", LEADS), ("orders.csv", orders)]).unwrap();
    let locate = |context: &str| {
        let issue = import.locate_rejected_row(context, "value too long")?;
        let name = issue.file.file_name().unwrap().to_owned();
        Some(ValidationIssue {
            file: name.into(),
            ..issue
        })
    };
    for (context, expected) in [
        // In chronological order: the first lead is in the last line of the file.
        (
            "COPY leads, line 1, column notes: \"a: b, c\"",
            "leads.csv:3: notes: PostgreSQL rejects the row: value too long",
        ),
        (
            "COPY leads, line 2, column email: null input",
            "leads.csv:2: email: PostgreSQL rejects the row: value too long",
        ),
        (
            "COPY orders, line 1: \"ord_1\tx, column y\"",
            "orders.csv:2: row: PostgreSQL rejects the row: value too long",
        ),
        (
            "COPY orders, line 1",
            "orders.csv:2: row: PostgreSQL rejects the row: value too long",
        ),
    ] {
        let issue = locate(context).map(|issue| issue.to_string());
        assert_eq!(issue.as_deref(), Some(expected), "{context}");
    }
    for context in [
        "COPY leads, line 3",
        "COPY leads, line 0",
        "COPY expenses, line 1",
        "COPY order_items, line 1, column sku: \"A\"",
        "SQL statement \"SELECT 1\"",
        "",
    ] {
        assert_eq!(locate(context), None, "{context}");
    }
}

#[test]
fn load_reports_all_issues() {
    let orders = "client,seller,created_at,ship_date,items,status,colour\n\
        Tate Inc,jhalpert,2026-03-01T10:00:00Z,soon,A:2;A:1;C:1;B:0;B,LOST,red\n\
        Voss Legal,,2026-02-01T10:00:00Z,2026-03-09,A:1,,\n";
    let expenses = "submitter,category,amount,description,created_at,status\n\
        jhalpert,MEALS,1.005,Lunch,2999-02-03T10:00:00Z,REJECTED\n";
    let issues = load_files(&[
        ("leads.csv", LEADS),
        ("orders.csv", orders),
        ("expenses.csv", expenses),
    ])
    .unwrap_err();
    insta::assert_snapshot!("validation_issues", issues.join("\n"));
}

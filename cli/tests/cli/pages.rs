//! Tests of the pages of the documentation: links, glossary and tour.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::documented::{documents, repository};

/// Returns the lines of a document outside its code blocks.
fn prose(document: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    document.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !is_fence && !in_code
    })
}

/// Returns the anchor of a heading: its letters and digits in lower case, with dashes for spaces.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
        .map(|character| if character == ' ' { '-' } else { character })
        .collect::<String>()
        .to_lowercase()
}

fn anchors(document: &str) -> BTreeSet<String> {
    prose(document)
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

/// Returns the targets of a document's links and images.
fn targets(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(document) {
        for start in ["](", "srcset=\"", " src=\""] {
            let ends: &[char] = &[')', '"', ' '];
            let parts = line.split(start).skip(1);
            let inner = parts.filter_map(|part| part.split(ends).next());
            found.extend(inner.map(str::to_owned));
        }
    }
    found
}

/// Returns the error of a link, if any.
fn link_error(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") {
        return None;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let file: PathBuf = if path.is_empty() {
        page.to_owned()
    } else {
        page.parent()?.join(path)
    };
    if !file.exists() {
        return Some(format!("there is no {path}"));
    }
    if heading.is_empty() {
        return None;
    }
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    (!anchors(&text).contains(heading)).then(|| format!("there is no heading #{heading}"))
}

#[test]
fn every_link_in_the_documents_has_a_target() {
    let mut pages = documents();
    pages.push(repository().join("CHANGELOG.md"));
    let (mut count, mut errors) = (0, Vec::new());
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in targets(&text) {
            count += 1;
            if let Some(link_error) = link_error(&page, &target) {
                errors.push(format!("{}: {target}: {link_error}", page.display()));
            }
        }
    }
    assert!(count > 100, "only {count} links were found");
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}

#[test]
fn every_page_is_listed_in_the_index() {
    let docs = repository().join("docs");
    let index = std::fs::read_to_string(docs.join("README.md")).unwrap();
    let listed: BTreeSet<PathBuf> = targets(&index)
        .iter()
        .filter_map(|target| target.split('#').next())
        .map(|path| docs.join(path))
        .collect();
    // Decisions and diagrams are listed as directories.
    let single = |page: &PathBuf| {
        let below = page.strip_prefix(&docs).ok();
        below.is_some_and(|path| !path.starts_with("adr") && !path.starts_with("schemas"))
    };
    let missing: Vec<_> = documents()
        .into_iter()
        .filter(single)
        .filter(|page| *page != docs.join("README.md") && !listed.contains(page))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn glossary_is_sorted_and_has_unique_terms() {
    let path = repository().join("docs/glossary.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| Term"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let terms: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .map(str::trim)
        .collect();
    assert!(terms.len() > 30, "{terms:?}");
    assert!(terms.is_sorted_by(|a, b| a < b), "{terms:?}");
}

#[test]
fn tour_contains_only_dm_commands() {
    let path = repository().join("docs/tour.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut is_console = false;
    let mut calls = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_console = language == "console";
        } else if let Some(call) = line.strip_prefix("$ ").filter(|_| is_console) {
            calls.push(call);
        }
    }
    assert!(calls.len() > 10, "{calls:?}");
    for call in &calls {
        assert!(call.starts_with("dm "), "{call}");
    }
    assert_eq!(calls.first(), Some(&"dm up --yes"));
    assert_eq!(calls.last(), Some(&"dm down"));
}

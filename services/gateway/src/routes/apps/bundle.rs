//! The files of the built-in apps, embedded in the binary and prepared for browsers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use dm_contracts::App;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

/// The directory of the assets in URLs. The digest of the bundle follows it.
pub(super) const ASSETS: &str = "/apps/assets/";

/// The placeholder for the base path of the assets.
const ASSETS_PLACEHOLDER: &str = "{{assets}}";

/// The placeholder in the page for the directory of its app, which is also the path that leads to
/// the app.
const APP_PLACEHOLDER: &str = "{{app}}";

/// The placeholder in the page for the title of its app.
const TITLE_PLACEHOLDER: &str = "{{title}}";

/// The placeholder in the page for the link to the manifest of its app.
const MANIFEST_PLACEHOLDER: &str = "{{manifest}}";

/// The link to the manifest of the warehouse app, which phones install.
const WAREHOUSE_MANIFEST: &str =
    "<link rel=\"manifest\" href=\"/apps/warehouse/manifest.webmanifest\">\n";

/// Number of hexadecimal digits of the bundle's digest in URLs.
const DIGEST_LENGTH: usize = 12;

/// A file of the directory `web`.
struct Source {
    path: &'static str,
    text: &'static str,
}

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        &[$(Source { path: $path, text: include_str!(concat!("../../../web/", $path)) }),*]
    };
}

/// The page of each app, with placeholders.
const PAGE: &str = include_str!("../../../web/shared/page.html");

/// The files with a fixed path beside the pages. The scope of a service worker is its directory.
const ENTRIES: &[Source] = sources!["warehouse/manifest.webmanifest", "warehouse/sw.js"];

/// The files whose path contains the digest of the bundle.
const FILES: &[Source] = sources![
    "shared/api.js",
    "shared/app.css",
    "shared/bell.js",
    "shared/dom.js",
    "shared/form.js",
    "shared/format.js",
    "shared/icon.svg",
    "shared/list.js",
    "shared/router.js",
    "shared/shell.js",
    "shared/store.js",
    "shared/stream.js",
    "shared/theme.js",
    "portal/app.js",
    "infinity/app.js",
    "infinity/clients.js",
    "infinity/leads.js",
    "infinity/lines.js",
    "infinity/orders.js",
    "warehouse/app.js",
    "warehouse/camera.js",
    "warehouse/database.js",
    "warehouse/queue.js",
    "warehouse/shipments.js",
    "accounting/app.js",
];

/// The bundle of this binary.
pub(super) static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| Bundle::new(PAGE, ENTRIES, FILES));

/// A file as it is sent.
pub(super) struct Asset {
    /// The content type.
    pub(super) content_type: HeaderValue,
    /// The entity tag, in quotes: a digest of the body.
    pub(super) etag: String,
    /// The body.
    pub(super) body: Bytes,
}

/// All files of the built-in apps. The bundle has one digest: a module imports others by relative
/// paths, so that a page never mixes modules of two versions.
pub(super) struct Bundle {
    digest: String,
    /// The pages, by the directories of their apps.
    pages: BTreeMap<&'static str, Asset>,
    entries: BTreeMap<&'static str, Asset>,
    files: BTreeMap<&'static str, Asset>,
}

impl Bundle {
    fn new(page: &str, entries: &[Source], files: &[Source]) -> Self {
        let pages = App::ALL.map(|app| (directory(app), fill_page(page, app)));
        let page_texts = pages
            .iter()
            .map(|(directory, text)| (*directory, text.as_str()));
        let sources = entries.iter().chain(files);
        let texts = page_texts.chain(sources.map(|source| (source.path, source.text)));
        let digest = digest_of(texts);
        let base = format!("{ASSETS}{digest}");
        let pages = pages
            .into_iter()
            .map(|(directory, text)| (directory, Asset::new("html", &text, &base)))
            .collect();
        let prepare = |sources: &[Source]| {
            sources
                .iter()
                .map(|source| {
                    let asset = Asset::new(extension(source.path), source.text, &base);
                    (source.path, asset)
                })
                .collect()
        };
        Self {
            pages,
            entries: prepare(entries),
            files: prepare(files),
            digest,
        }
    }

    /// Returns the page of an app.
    pub(super) fn page(&self, app: App) -> Option<&Asset> {
        self.pages.get(directory(app))
    }

    /// Returns the paths of the files with a fixed path, e.g. `warehouse/sw.js`.
    pub(super) fn entry_paths(&self) -> impl Iterator<Item = &'static str> {
        self.entries.keys().copied()
    }

    /// Returns a file with a fixed path.
    pub(super) fn entry(&self, path: &str) -> Option<&Asset> {
        self.entries.get(path)
    }

    /// Returns a file by its path below the digest, e.g. `shared/app.css`.
    pub(super) fn file(&self, path: &str) -> Option<&Asset> {
        self.files.get(path)
    }

    /// Returns whether `digest` is that of this bundle.
    pub(super) fn is_current(&self, digest: &str) -> bool {
        self.digest == digest
    }
}

impl Asset {
    /// Prepares a text of the type of files with this extension. `base` is the base path of the
    /// assets.
    fn new(extension: &str, text: &str, base: &str) -> Self {
        let text = match extension {
            "js" => strip_lines(text),
            "css" => strip_spaces(&strip_lines(text)),
            _ => text.to_owned(),
        };
        let text = text.replace(ASSETS_PLACEHOLDER, base);
        Self {
            content_type: content_type(extension),
            etag: format!("\"{:x}\"", Sha256::digest(&text)),
            body: text.into(),
        }
    }
}

/// Returns the page of an app. The base path of the assets depends on the digest, which depends on
/// the pages: its placeholder stays.
fn fill_page(page: &str, app: App) -> String {
    let manifest = match app {
        App::WarehouseMobile => WAREHOUSE_MANIFEST,
        App::Portal | App::Infinity | App::Accounting => "",
    };
    page.replace(APP_PLACEHOLDER, directory(app))
        .replace(TITLE_PLACEHOLDER, title(app))
        .replace(MANIFEST_PLACEHOLDER, manifest)
}

/// Returns the beginning of the digest of paths and texts.
fn digest_of<'a>(texts: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut hash = Sha256::new();
    for (path, text) in texts {
        for part in [path, text] {
            hash.update(part);
            // Separates the texts: no other files have the same digest.
            hash.update([0_u8]);
        }
    }
    let mut digest = format!("{:x}", hash.finalize());
    digest.truncate(DIGEST_LENGTH);
    digest
}

/// Returns the directory of an app, in `web` and in URLs.
pub(super) const fn directory(app: App) -> &'static str {
    match app {
        App::Portal => "portal",
        App::Infinity => "infinity",
        App::WarehouseMobile => "warehouse",
        App::Accounting => "accounting",
    }
}

/// Returns the title of the page of an app.
const fn title(app: App) -> &'static str {
    match app {
        App::Portal => "Portal",
        App::Infinity => "Infinity",
        App::WarehouseMobile => "Warehouse",
        App::Accounting => "Accounting",
    }
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn content_type(extension: &str) -> HeaderValue {
    HeaderValue::from_static(match extension {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    })
}

/// Removes what only readers of the sources need: indentation, lines that are blank or a comment,
/// and line breaks after a delimiter. There is no build step that could do so.
fn strip_lines(text: &str) -> String {
    let mut stripped = String::with_capacity(text.len());
    let mut is_comment = false;
    for line in text.lines().map(str::trim) {
        is_comment = is_comment || line.starts_with("/*");
        if is_comment {
            is_comment = !line.ends_with("*/");
        } else if !line.is_empty() && !line.starts_with("//") {
            stripped.push_str(line);
            if !line.ends_with(['{', '(', '[', ',', ';']) {
                stripped.push('\n');
            }
        }
    }
    stripped
}

/// Removes the white space around the delimiters of a stylesheet.
fn strip_spaces(text: &str) -> String {
    let delimiters = [
        (" {", "{"),
        ("{ ", "{"),
        (": ", ":"),
        (", ", ","),
        ("; ", ";"),
        (" > ", ">"),
        (" }", "}"),
        (";}", "}"),
        ("}\n", "}"),
    ];
    delimiters
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The maximum number of bytes that an app loads, uncompressed.
    const MAX_APP_BYTES: usize = 60_000;

    fn text(asset: &Asset) -> &str {
        std::str::from_utf8(&asset.body).unwrap()
    }

    /// Returns the files that a page loads: the files that it names, and their imports.
    fn loaded_files(app: App) -> BTreeSet<String> {
        let page = text(BUNDLE.page(app).unwrap());
        let base = format!("{ASSETS}{}/", BUNDLE.digest);
        let mut open: Vec<String> = page
            .split('"')
            .filter_map(|part| part.strip_prefix(&base))
            .map(str::to_owned)
            .collect();
        let mut files = BTreeSet::new();
        while let Some(path) = open.pop() {
            let asset = BUNDLE.file(&path);
            let asset = asset.unwrap_or_else(|| panic!("{path} is not in the bundle"));
            if path.ends_with(".js") && !files.contains(&path) {
                let directory = path.split('/').next().unwrap();
                for import in text(asset).split(" from '").skip(1) {
                    let import = import.split('\'').next().unwrap();
                    open.push(match import.strip_prefix("../") {
                        Some(path) => path.to_owned(),
                        None => format!("{directory}/{}", import.strip_prefix("./").unwrap()),
                    });
                }
            }
            files.insert(path);
        }
        files
    }

    #[test]
    fn app_loads_at_most_60_kb() {
        for app in App::ALL {
            let files: usize = loaded_files(app)
                .iter()
                .map(|path| BUNDLE.file(path).unwrap().body.len())
                .sum();
            let entries: usize = BUNDLE
                .entries
                .iter()
                .filter(|(path, _)| path.starts_with(directory(app)))
                .map(|(_, asset)| asset.body.len())
                .sum();
            let page = BUNDLE.page(app).unwrap().body.len();
            let total = page + files + entries;
            assert!(total <= MAX_APP_BYTES, "{} loads {total} bytes", app.name());
        }
    }

    #[test]
    fn each_file_of_the_bundle_is_loaded_by_an_app() {
        let loaded: BTreeSet<_> = App::ALL.into_iter().flat_map(loaded_files).collect();
        let files: BTreeSet<_> = BUNDLE.files.keys().map(ToString::to_string).collect();
        assert_eq!(loaded, files);
    }

    #[test]
    fn service_worker_keeps_each_file_that_the_warehouse_loads() {
        let worker = text(BUNDLE.entry("warehouse/sw.js").unwrap());
        assert!(worker.contains(&format!("'{ASSETS}{}'", BUNDLE.digest)));
        for path in loaded_files(App::WarehouseMobile) {
            assert!(worker.contains(&format!("'{path}'")), "{path}");
        }
    }

    #[test]
    fn page_names_its_app_and_only_the_warehouse_has_a_manifest() {
        let titles = ["Portal", "Infinity", "Warehouse", "Accounting"];
        for (app, title) in App::ALL.into_iter().zip(titles) {
            let page = text(BUNDLE.page(app).unwrap());
            let directory = directory(app);
            for part in [
                format!(" data-app=\"{directory}\">"),
                format!("<title>{title}</title>"),
                format!("<h1>{title}</h1>"),
                format!("<a class=\"brand\" href=\"/{directory}\">"),
                format!("{}/{directory}/app.js\"></script>", BUNDLE.digest),
            ] {
                assert!(page.contains(&part), "{directory}: {part}");
            }
            let link = "<link rel=\"manifest\" href=\"/apps/warehouse/manifest.webmanifest\">";
            let has_manifest = page.contains(link);
            assert_eq!(has_manifest, app == App::WarehouseMobile, "{directory}");
        }
    }

    #[test]
    fn page_contains_no_inline_code_and_no_other_origin() {
        for (directory, asset) in &BUNDLE.pages {
            let page = text(asset);
            for forbidden in [
                "<style", " style=", " onclick", "http:", "https:", "<script>",
            ] {
                assert!(!page.contains(forbidden), "{directory}: {forbidden}");
            }
        }
    }

    #[test]
    fn no_file_contains_a_placeholder_and_no_script_writes_markup() {
        let files = BUNDLE
            .pages
            .iter()
            .chain(&BUNDLE.entries)
            .chain(&BUNDLE.files);
        for (path, asset) in files {
            let text = text(asset);
            for placeholder in [
                ASSETS_PLACEHOLDER,
                APP_PLACEHOLDER,
                TITLE_PLACEHOLDER,
                MANIFEST_PLACEHOLDER,
            ] {
                assert!(!text.contains(placeholder), "{path}: {placeholder}");
            }
            if path.ends_with(".js") {
                for forbidden in ["innerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                    assert!(!text.contains(forbidden), "{path} contains {forbidden}");
                }
            }
        }
    }

    /// A template literal over several lines would lose its indentation, and a comment behind code
    /// could hide the next line.
    #[test]
    fn template_literals_end_on_their_line_and_comments_have_their_own() {
        for source in ENTRIES.iter().chain(FILES) {
            let is_script = source.path.ends_with(".js");
            for line in source.text.lines().map(str::trim).filter(|_| is_script) {
                if line.starts_with("//") {
                    continue;
                }
                // A description may contain both.
                let is_description = line.starts_with("/*") || line.starts_with('*');
                let count = line.matches('`').count();
                assert!(
                    is_description || (count.is_multiple_of(2) && !line.contains(" //")),
                    "{}: {line}",
                    source.path
                );
            }
        }
    }

    #[test]
    fn digest_changes_with_the_page_and_with_the_text_and_the_path_of_a_file() {
        let digest = |path, text| Bundle::new("", &[], &[Source { path, text }]).digest;
        assert_eq!(digest("a.js", "1"), "104499b5bbcc");
        assert_ne!(digest("a.js", "1"), digest("a.js", "2"));
        assert_ne!(digest("a.js", "1"), digest("a.js1", ""));
        let digest_of_page = |page: &str| Bundle::new(page, &[], &[]).digest;
        assert_ne!(digest_of_page("1"), digest_of_page("2"));
    }

    #[test]
    fn comments_and_indentation_are_removed() {
        let script = "// one\nif (a) {\n  /** two */\n  b(); // three\n\n  /*\n   four\n   */\n  c('//');\n}\n";
        assert_eq!(strip_lines(script), "if (a) {b(); // three\nc('//');}\n");
        let style = "a:hover, .b > :is(i, u) { margin: 0 1px; color: red; }\nb { top: 0; }\n";
        assert_eq!(
            strip_spaces(style),
            "a:hover,.b>:is(i,u){margin:0 1px;color:red}b{top:0}"
        );
    }
}

//! Images against a real engine and a real registry on loopback.
//!
//! These tests need an engine: `./dm test` starts one first. Everything they make
//! carries a name of their own and is removed again.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on says where"
)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use dm_core::error::Coded;
use dm_engine::images::RegistryLogin;
use dm_images::catalog::{Catalog, ImageSpec};
use dm_images::error::PullRefusal;
use dm_images::inventory::Standing;
use dm_images::recipe::{Digest, Recipe, RecipeFile};
use dm_images::settings::{ImageSettings, Source};
use dm_images::{Derivation, How, ImageError};
use tokio_util::sync::CancellationToken;

use support::{Bench, registry::Registry};

/// A base from scratch and an image on it with this official counterpart.
fn specs(bench: &Bench, official: Option<String>) -> Vec<ImageSpec> {
    let base = Recipe {
        name: bench.name("base"),
        version: "1".into(),
        files: vec![
            RecipeFile::new("Dockerfile", b"FROM scratch\nCOPY a /a\n".as_slice()),
            RecipeFile::new("a", bench.unique().into_bytes()),
        ],
        ..Recipe::default()
    };
    let image = Recipe {
        name: bench.name("app"),
        version: "1".into(),
        files: vec![
            RecipeFile::new(
                "Dockerfile",
                b"ARG BASE\nFROM ${BASE}\nCOPY b /b\nCMD [\"/b\"]\n".as_slice(),
            ),
            RecipeFile::new("b", bench.unique().into_bytes()),
        ],
        base: Some(bench.name("base")),
        ..Recipe::default()
    };
    let spec = |recipe, official| ImageSpec {
        recipe,
        official,
        on_top: None,
    };
    vec![spec(base, None), spec(image, official)]
}

fn pulling(source: Source) -> ImageSettings {
    ImageSettings {
        source,
        ..ImageSettings::default()
    }
}

fn refusal(error: &ImageError) -> &PullRefusal {
    match error {
        ImageError::Pull { refusal, .. } => refusal,
        error => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_once_and_then_found() {
    let bench = Bench::new().await;
    let catalog = Catalog::new(specs(&bench, None));
    let images = bench.images(catalog, pulling(Source::Build));
    let app = bench.name("app");
    let built = images.acquire(&app).await.unwrap();
    assert_eq!(built.how, How::Built);
    let again = images.acquire(&app).await.unwrap();
    assert_eq!(again.how, How::Local);
    assert_eq!(again.reference, built.reference);
    assert_eq!(again.id, built.id);
    let steps = bench.told().doing(&app, "building");
    assert!(
        steps.iter().any(|update| update.total == Some(5)),
        "{steps:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_brings_the_image_and_tells_its_bytes() {
    let bench = Bench::new().await;
    let registry = Registry::start(None).await;
    let official = registry.push(&bench, "app", None).await;
    let catalog = Catalog::new(specs(&bench, Some(official.clone())));
    let images = bench.images(catalog, pulling(Source::Auto));
    let app = bench.name("app");
    let pulled = images.acquire(&app).await.unwrap();
    assert_eq!((pulled.how, &pulled.reference), (How::Pulled, &official));
    let told = bench.told().doing(&app, "pulling");
    assert!(
        told.iter().any(|update| {
            update.total.is_some_and(|total| total > 0) && update.current == update.total
        }),
        "{told:?}"
    );
    assert_eq!(images.acquire(&app).await.unwrap().how, How::Local);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_stands_in_for_the_registry() {
    let bench = Bench::new().await;
    let registry = Registry::start(None).await;
    let name = bench.name("official");
    let pushed = registry
        .push(&bench, &format!("library/{name}"), None)
        .await;
    let images = bench.images(
        Catalog::new(specs(&bench, Some(format!("{name}:1")))),
        ImageSettings {
            mirror: Some(registry.address()),
            ..pulling(Source::Pull)
        },
    );
    let pulled = images.acquire(&bench.name("app")).await.unwrap();
    assert_eq!(pulled.reference, pushed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_is_said_to_be_one() {
    let bench = Bench::new().await;
    let registry = Registry::start(None).await;
    let official = format!("{}/{}:1", registry.address(), bench.name("nothing"));
    let images = bench.images(
        Catalog::new(specs(&bench, Some(official))),
        pulling(Source::Pull),
    );
    let error = images.acquire(&bench.name("app")).await.unwrap_err();
    assert_eq!(refusal(&error), &PullRefusal::NotFound);
    assert_eq!(error.code(), "image-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_said_to_be_so_and_right_ones_work() {
    let bench = Bench::new().await;
    // Its base64 has characters that differ in the URL-safe alphabet.
    let mut login = RegistryLogin {
        registry: String::new(),
        username: "dm".into(),
        password: "ÿ?>~ÿ?>~ÿ".into(),
    };
    let registry = Registry::start(Some(&login)).await;
    login.registry = registry.address();
    let official = registry.push(&bench, "app", Some(&login)).await;
    let attempt = async |credentials: Option<RegistryLogin>| {
        let settings = ImageSettings {
            credentials,
            ..pulling(Source::Pull)
        };
        let catalog = Catalog::new(specs(&bench, Some(official.clone())));
        bench
            .images(catalog, settings)
            .acquire(&bench.name("app"))
            .await
    };
    let wrong = RegistryLogin {
        password: "wrong".into(),
        ..login.clone()
    };
    // The password of another registry is not this one's business.
    let foreign = RegistryLogin {
        registry: "registry.example".into(),
        ..login.clone()
    };
    for credentials in [None, Some(wrong), Some(foreign)] {
        let error = attempt(credentials).await.unwrap_err();
        assert_eq!(refusal(&error), &PullRefusal::Credentials, "{error:?}");
        assert_eq!(error.code(), "registry-credentials");
    }
    assert_eq!(attempt(Some(login)).await.unwrap().how, How::Pulled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_was_moved_brings_the_image_that_it_stood_for_first() {
    let bench = Bench::new().await;
    let registry = Registry::start(None).await;
    let official = registry.push(&bench, "app", None).await;
    let app = bench.name("app");
    let images = bench.images(
        Catalog::new(specs(&bench, Some(official.clone()))),
        pulling(Source::Pull),
    );
    let first = images.acquire(&app).await.unwrap();
    bench.remove(&official).await;
    // Another image under the same tag, as somebody who may write there would put it.
    assert_eq!(registry.push(&bench, "app", None).await, official);
    let again = images.acquire(&app).await.unwrap();
    assert_eq!((again.how, &again.id), (How::Pulled, &first.id));
    // A pull that was asked for takes what the tag stands for now.
    let newest = images.pull(&[&app]).await.unwrap();
    assert_ne!(newest[0].id, first.id);
    assert!(
        bench
            .told()
            .notes()
            .iter()
            .any(|note| note.contains("in place of"))
    );
    assert_eq!(images.acquire(&app).await.unwrap().id, newest[0].id);
    // And another one that was put here under the name is not taken.
    bench.tag(&first.id, &official).await;
    let error = images.acquire(&app).await.unwrap_err();
    assert_eq!(error.code(), "image-moved");
    assert!(error.next()[0].ends_with(&format!("dm images pull {app}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_down_fails_a_pull_and_makes_auto_build() {
    let bench = Bench::new().await;
    let registry = Registry::start(None).await;
    let address = registry.address();
    drop(registry);
    let catalog = Catalog::new(specs(&bench, Some(format!("{address}/app:1"))));
    let app = bench.name("app");
    let error = bench
        .images(catalog.clone(), pulling(Source::Pull))
        .acquire(&app)
        .await
        .unwrap_err();
    assert_eq!(refusal(&error), &PullRefusal::Unreachable);
    let built = bench
        .images(catalog, pulling(Source::Auto))
        .acquire(&app)
        .await
        .unwrap();
    assert_eq!(built.how, How::Built);
    let notes = bench.told().notes();
    assert_eq!(
        notes,
        [format!(
            "no registry answers at {address}: building {app} here"
        )]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_says_nothing_is_given_up_once_for_all_images() {
    let bench = Bench::new().await;
    // It accepts connections and never answers.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let mut catalog = specs(&bench, Some(format!("{address}/app:1")));
    let mut second = catalog[1].clone();
    second.recipe.name = bench.name("second");
    catalog.push(second);
    let images = bench.images(
        Catalog::new(catalog),
        ImageSettings {
            pull_timeout: Duration::from_millis(300),
            ..pulling(Source::Pull)
        },
    );
    for name in ["app", "second"] {
        let error = images.acquire(&bench.name(name)).await.unwrap_err();
        let limit = Duration::from_millis(300);
        assert_eq!(refusal(&error), &PullRefusal::TimedOut { after: limit });
        assert_eq!(error.exit(), dm_core::error::Exit::TimedOut);
    }
    // The second was not even asked for.
    assert!(
        bench
            .told()
            .doing(&bench.name("second"), "pulling")
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_at_once_build_once() {
    let bench = Bench::new().await;
    let catalog = Catalog::new(specs(&bench, None));
    // As two processes would: nothing in common but the state directory.
    let (one, two) = (
        bench.images(catalog.clone(), pulling(Source::Build)),
        bench.images(catalog, pulling(Source::Build)),
    );
    let app = bench.name("app");
    let (one, two) = tokio::join!(one.acquire(&app), two.acquire(&app));
    assert_eq!(one.unwrap().id, two.unwrap().id);
    let begun = bench
        .told()
        .doing(&app, "building")
        .into_iter()
        .filter(|update| update.detail.as_deref() == Some("sending the context"))
        .count();
    assert_eq!(begun, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_named_with_its_output_and_leaves_nothing() {
    let bench = Bench::new().await;
    let mut specs = specs(&bench, None);
    specs[1].recipe.files[0] = RecipeFile::new(
        "Dockerfile",
        b"ARG BASE\nFROM ${BASE}\nCOPY b /b\nCOPY missing /missing\n".as_slice(),
    );
    let images = bench.images(Catalog::new(specs), pulling(Source::Build));
    images.acquire(&bench.name("base")).await.unwrap();
    let before = bench.image_ids().await;
    let error = images.acquire(&bench.name("app")).await.unwrap_err();
    let ImageError::Build { step, reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(step.as_deref(), Some("4/5: COPY missing /missing"));
    assert!(reason.contains("missing"), "{reason}");
    assert_eq!(bench.image_ids().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_build_leaves_nothing() {
    let bench = Bench::new().await;
    let root = bench.sleeping_root();
    let mut specs = specs(&bench, None);
    specs[0].recipe.files = vec![
        RecipeFile::new("Dockerfile", b"FROM scratch\nADD root.tar /\n".as_slice()),
        RecipeFile::new("root.tar", root),
    ];
    specs[1].recipe.files[0] = RecipeFile::new(
        "Dockerfile",
        b"ARG BASE\nFROM ${BASE}\nCOPY b /b\nRUN [\"/bin/sleep\", \"600\"]\n".as_slice(),
    );
    let cancel = CancellationToken::new();
    let app = bench.name("app");
    let stop = cancel.clone();
    bench.told().when(move |_, update| {
        if update
            .detail
            .as_deref()
            .is_some_and(|detail| detail == "RUN")
        {
            stop.cancel();
        }
    });
    let images = bench
        .images(Catalog::new(specs), pulling(Source::Build))
        .with_cancel(cancel);
    images.acquire(&bench.name("base")).await.unwrap();
    let before = (bench.image_ids().await, bench.container_ids().await);
    let error = images.acquire(&app).await.unwrap_err();
    assert!(matches!(error, ImageError::Cancelled), "{error:?}");
    // The engine stops the step on its own account, a moment later.
    bench
        .eventually(async || (bench.image_ids().await, bench.container_ids().await) == before)
        .await;
    assert!(bench.work_is_clear());
}

#[tokio::test(flavor = "multi_thread")]
async fn saved_images_come_back_by_their_names() {
    let bench = Bench::new().await;
    let images = bench.images(Catalog::new(specs(&bench, None)), pulling(Source::Build));
    let app = images.acquire(&bench.name("app")).await.unwrap();
    let golden = images
        .build_derived(&derivation(&bench, &app.reference), files())
        .await
        .unwrap();
    let file = bench.path("images.tar.zst");
    let lean = images.save(&file, false).await.unwrap();
    assert!(lean.images.iter().all(|image| !image.golden));
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let saved = images.save(&file, true).await.unwrap();
    let mut names: Vec<_> = saved.images.iter().map(|image| &image.reference).collect();
    names.sort();
    assert!(
        names.contains(&&app.reference) && names.contains(&&golden),
        "{names:?}"
    );
    images.prune(true).await.unwrap();
    assert_eq!(images.local(&bench.name("app")).await.unwrap(), None);
    let loaded = images.load(&file).await.unwrap();
    assert_eq!(loaded.images, saved.images);
    let found = images.acquire(&bench.name("app")).await.unwrap();
    assert_eq!((found.how, found.id), (How::Local, app.id));
    let rows = images.list().await.unwrap();
    assert!(
        rows.iter()
            .any(|row| row.golden && row.standing == Standing::Current)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_cut_short_never_reaches_the_engine() {
    let bench = Bench::new().await;
    let images = bench.images(Catalog::new(specs(&bench, None)), pulling(Source::Build));
    images.acquire(&bench.name("app")).await.unwrap();
    let file = bench.path("images.tar.zst");
    images.save(&file, true).await.unwrap();
    images.prune(true).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    let error = images.load(&file).await.unwrap_err();
    assert!(error.to_string().ends_with("is cut short"), "{error}");
    assert_eq!(images.local(&bench.name("app")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_takes_what_is_stale_and_unused_and_ours() {
    let bench = Bench::new().await;
    let foreign = bench.foreign_image("foreign").await;
    let old = bench.images(Catalog::new(specs(&bench, None)), pulling(Source::Build));
    let stale = old.acquire(&bench.name("app")).await.unwrap();
    let used = {
        let mut changed = specs(&bench, None);
        changed[1].recipe.version = "used".into();
        let images = bench.images(Catalog::new(changed), pulling(Source::Build));
        images.acquire(&bench.name("app")).await.unwrap()
    };
    bench.container_of(&used.reference).await;
    let mut changed = specs(&bench, None);
    changed[1].recipe.version = "2".into();
    let images = bench.images(Catalog::new(changed), pulling(Source::Build));
    let current = images.acquire(&bench.name("app")).await.unwrap();
    let pruned = images.prune(false).await.unwrap();
    let removed: Vec<_> = pruned
        .removed
        .iter()
        .filter_map(|row| row.reference.as_ref())
        .collect();
    assert!(removed.contains(&&stale.reference), "{removed:?}");
    assert!(!removed.contains(&&current.reference), "{removed:?}");
    assert!(bench.has(&current.reference).await);
    assert!(bench.has(&used.reference).await);
    assert!(bench.has(&foreign).await);
    assert!(!bench.has(&stale.reference).await);
    let kept = pruned
        .kept
        .iter()
        .find(|row| row.reference.as_ref() == Some(&used.reference))
        .unwrap();
    assert_eq!(kept.in_use[0].instance.as_deref(), Some("bench"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_derived_image_is_made_once_with_owners_kept() {
    let bench = Bench::new().await;
    let images = bench.images(Catalog::new(specs(&bench, None)), pulling(Source::Build));
    let base = images.acquire(&bench.name("base")).await.unwrap();
    let derivation = derivation(&bench, &base.reference);
    let made = images.build_derived(&derivation, files()).await.unwrap();
    assert_eq!(made, derivation.reference());
    // The second time the files aren't read.
    let unread = futures_util::stream::iter([Err(std::io::Error::other("was read"))]);
    assert_eq!(
        images.build_derived(&derivation, unread).await.unwrap(),
        made
    );
    assert_eq!(bench.owner_in(&made, "/data/file").await, (999, 998));
}

fn derivation(bench: &Bench, from: &str) -> Derivation {
    Derivation {
        component: bench.name("golden"),
        told_as: bench.name("golden"),
        key: Digest::of(bench.unique().as_bytes()),
        from: from.to_owned(),
        golden: true,
        to: "/data".into(),
        labels: HashMap::new(),
        changes: vec!["CMD [\"/data/file\"]".into()],
    }
}

/// A tar with one file of a user of its own.
fn files() -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Unpin {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o600);
    header.set_uid(999);
    header.set_gid(998);
    tar.append_data(&mut header, "file", b"data".as_slice())
        .unwrap();
    let tar = tar.into_inner().unwrap();
    // In pieces, as an engine would send it.
    let pieces: Vec<_> = tar
        .chunks(300)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    futures_util::stream::iter(pieces)
}

//! Tests of avatars and app settings at profile-service. Each uses users of its own: the smoke test
//! runs at the same time.

use std::io::Cursor;

use futures_util::future::join_all;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use libtest_mimic::Failed;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::faults::memory;
use super::stack::{address, block_on, client, gateway_secret, sql};

const OWN_AVATAR: &str = "/internal/profile/me/avatar";

/// Prepares a request to profile-service as the gateway sends it for a user.
fn request(client: &Client, method: Method, user: &str, path: &str) -> RequestBuilder {
    client
        .request(method, format!("{}{path}", address("profile")))
        .header("x-gateway-secret", gateway_secret())
        .header("x-user-id", user)
}

async fn upload(client: &Client, user: &str, content_type: &str, file: Vec<u8>) -> (u16, Value) {
    let answer = request(client, Method::PUT, user, OWN_AVATAR)
        .header("content-type", content_type)
        .body(file)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

fn encode(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Vec::new();
    image.write_to(&mut Cursor::new(&mut file), format).unwrap();
    file
}

/// An upload is shown to all users as a PNG file with an entity tag, until it is removed. Without
/// it, an image with initials is shown.
pub(crate) fn avatar_is_shown_with_its_entity_tag_until_it_is_removed() -> Result<(), Failed> {
    const PUBLIC_AVATAR: &str = "/internal/profile/test-avatar/avatar";
    sql(
        "INSERT INTO profile.user_profiles VALUES ('test-avatar', 'Bob <b> & Vance', 'b@example.com',
             '', '', 'PORTAL', true, now(), now())
         ON CONFLICT (user_id) DO NOTHING",
    )?;
    block_on(async {
        let client = client();
        let get = async |path: &str, tag: &str| {
            let answer = request(&client, Method::GET, "test-viewer", path);
            let answer = answer.header("if-none-match", tag).send().await.unwrap();
            let status = answer.status().as_u16();
            let header = |name| {
                let value = answer.headers().get(name);
                value.map_or("", |value| value.to_str().unwrap()).to_owned()
            };
            let (etag, content_type) = (header("etag"), header("content-type"));
            assert_eq!(
                header("cache-control"),
                "private, max-age=60, must-revalidate"
            );
            (status, etag, content_type, answer.bytes().await.unwrap())
        };
        let (status, initials_tag, content_type, image) = get(PUBLIC_AVATAR, "").await;
        assert_eq!((status, content_type.as_str()), (200, "image/svg+xml"));
        let image = String::from_utf8(image.to_vec()).unwrap();
        assert!(
            image.contains(">BV</text>") && image.contains("<title>Bob &lt;b&gt; &amp; Vance<"),
            "{image}"
        );
        assert_eq!(get(PUBLIC_AVATAR, &initials_tag).await.0, 304);

        let picture = RgbImage::from_pixel(300, 200, Rgb([200, 30, 30]));
        let file = encode(picture.into(), ImageFormat::Jpeg);
        let uploaded = upload(&client, "test-avatar", "image/jpeg", file.clone()).await;
        assert_eq!(uploaded.0, 204);
        let (status, tag, content_type, image) = get(PUBLIC_AVATAR, &initials_tag).await;
        assert_eq!((status, content_type.as_str()), (200, "image/png"));
        let image = image::load_from_memory_with_format(&image, ImageFormat::Png).unwrap();
        assert_eq!((image.width(), image.height()), (256, 256));
        assert_eq!(get(PUBLIC_AVATAR, &tag).await.0, 304);
        // The same image has the same tag.
        upload(&client, "test-avatar", "image/jpeg", file).await;
        assert_eq!(get(PUBLIC_AVATAR, &tag).await.0, 304);

        for _ in 0..2 {
            let removed = request(&client, Method::DELETE, "test-avatar", OWN_AVATAR);
            assert_eq!(removed.send().await.unwrap().status(), 204);
        }
        assert_eq!(get(PUBLIC_AVATAR, &initials_tag).await.0, 304);
    });
    Ok(())
}

/// Bodies that are no image of their content type are refused with the error envelope, and leave
/// the avatar as it was.
pub(crate) fn invalid_avatar_is_refused_and_changes_nothing() -> Result<(), Failed> {
    const USER: &str = "test-invalid";
    let picture = || DynamicImage::from(RgbImage::from_pixel(20, 20, Rgb([9, 99, 9])));
    let png = encode(picture(), ImageFormat::Png);
    let jpeg = encode(picture(), ImageFormat::Jpeg);
    let cut_off = jpeg[..jpeg.len() - 10].to_vec();
    let wide = encode(DynamicImage::new_rgb8(4_097, 2), ImageFormat::Png);
    // The width and height in the header, which claims 60,000 x 60,000 pixels with a wrong checksum.
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let etag = || sql("SELECT etag FROM profile.avatars WHERE user_id = 'test-invalid'");
    block_on(async {
        let accepted = upload(&client(), USER, "image/png", png.clone()).await;
        assert_eq!(accepted.0, 204);
    });
    let before = etag()?;
    block_on(async {
        let client = client();
        for (content_type, file, field) in [
            ("image/png", Vec::new(), "body"),
            ("image/png", jpeg.clone(), "body"),
            ("image/webp", png.clone(), "body"),
            ("image/jpeg", cut_off, "body"),
            ("image/png", wide, "body"),
            ("image/png", huge, "body"),
            ("image/gif", png.clone(), "content-type"),
            ("application/json", b"{}".to_vec(), "content-type"),
        ] {
            let (status, body) = upload(&client, USER, content_type, file).await;
            assert_eq!(status, 400, "{content_type}: {body}");
            assert_eq!(body["error"]["code"], "VALIDATION_ERROR", "{body}");
            assert_eq!(body["error"]["details"][0]["field"], field, "{body}");
        }
    });
    assert_eq!(etag()?, before);
    Ok(())
}

/// Width and height of the largest image, in pixels.
const MAX_PIXELS: u16 = 4_096;

/// Returns a progressive JPEG file of the maximum size, of which a decoder keeps the coefficients of
/// four components.
fn progressive_jpeg() -> Vec<u8> {
    let segment = |marker: u8, data: &[u8]| {
        let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker][..], &length, data].concat()
    };
    let size = MAX_PIXELS.to_be_bytes();
    // The components 1 to 4, not subsampled, with the quantisation table 0.
    let components = (1..=4).flat_map(|id| [id, 0x11, 0]).collect::<Vec<u8>>();
    let frame = [&[8_u8][..], &size, &size, &[4], &components].concat();
    // A code of one bit, 0, for the value 0.
    let code = [&[0_u8, 1][..], &[0; 15], &[0]].concat();
    // One scan with the first coefficient of the components, and their codes.
    let scan = [4_u8, 1, 0, 2, 0, 3, 0, 4, 0, 0, 0, 0];
    let blocks = usize::from(MAX_PIXELS / 8).pow(2);
    [
        vec![0xff, 0xd8],
        segment(0xdb, &[&[0_u8][..], &[1; 64]].concat()),
        segment(0xc2, &frame),
        segment(0xc4, &code),
        segment(0xda, &scan),
        vec![0; 4 * blocks / 8],
        vec![0xff, 0xd9],
    ]
    .concat()
}

/// Returns an animated WebP file of the maximum size with one lossless frame, which a decoder keeps
/// in addition to the canvas and the image.
fn animated_webp() -> Vec<u8> {
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        [&name[..], &length, data].concat()
    };
    let last = u64::from(MAX_PIXELS - 1);
    // Signature, width, height; no transform, cache or groups; and five codes with one symbol, 0.
    let frame = 0x2f_u64 | (last << 8) | (last << 22) | (0x1_1111_u64 << 43);
    let frame = chunk(b"VP8L", &frame.to_le_bytes());
    let size = [&last.to_le_bytes()[..3], &last.to_le_bytes()[..3]].concat();
    // Position, size, duration, and no blending.
    let frame = [&[0_u8; 6][..], &size, &[100, 0, 0, 2], &frame].concat();
    let chunks = [
        // With an alpha channel and an animation.
        chunk(b"VP8X", &[&[0x12_u8, 0, 0, 0][..], &size].concat()),
        chunk(b"ANIM", &[0; 6]),
        chunk(b"ANMF", &frame),
    ];
    chunk(b"RIFF", &[&b"WEBP"[..], &chunks.concat()].concat())
}

/// Images of the maximum size need little memory, one after the other and many at once, and the
/// service stays ready.
pub(crate) fn large_avatars_need_little_memory() -> Result<(), Failed> {
    const UPLOADS: usize = 12;
    /// Maximum growth in kB, as documented.
    const MAX_GROWTH: u64 = 256 * 1024;
    let pixels = u32::from(MAX_PIXELS);
    let png = encode(DynamicImage::new_rgba8(pixels, pixels), ImageFormat::Png);
    let bombs = [
        ("image/png", png),
        ("image/jpeg", progressive_jpeg()),
        ("image/webp", animated_webp()),
    ];
    for (content_type, bomb) in &bombs {
        assert!(bomb.len() < 1 << 20, "{content_type}: {}", bomb.len());
    }
    let before = memory("profile", "VmRSS")?;
    block_on(async {
        let client = client();
        for (content_type, bomb) in &bombs {
            let (status, body) = upload(&client, "test-bomb-0", content_type, bomb.clone()).await;
            assert_eq!(status, 204, "{content_type}: {body}");
        }
        let uploads = (0..UPLOADS).map(|number| {
            let (client, (content_type, bomb)) = (&client, &bombs[number % bombs.len()]);
            async move {
                let user = format!("test-bomb-{number}");
                upload(client, &user, content_type, bomb.clone()).await.0
            }
        });
        let ready = async {
            let health = format!("{}/health/ready", address("profile"));
            for _ in 0..10 {
                let answer = client.get(&health).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        let (statuses, ()) = tokio::join!(join_all(uploads), ready);
        assert!(statuses.contains(&204), "{statuses:?}");
        let is_expected = |status: &u16| [204, 429].contains(status);
        assert!(statuses.iter().all(is_expected), "{statuses:?}");
        // A body of more than 2 MiB may close the connection before its answer is read.
        let large = request(&client, Method::PUT, "test-bomb-0", OWN_AVATAR)
            .header("content-type", "image/png")
            .body(vec![0; 3 << 20]);
        if let Ok(answer) = large.send().await {
            assert_eq!(answer.status(), 413);
        }
    });
    let growth = memory("profile", "VmHWM")?.saturating_sub(before);
    eprintln!(
        "{UPLOADS} avatars of 16 million pixels: {} MB more memory",
        growth / 1024
    );
    sql("DELETE FROM profile.avatars WHERE user_id LIKE 'test-bomb-%'")?;
    assert!(growth <= MAX_GROWTH, "memory grew by {growth} kB");
    Ok(())
}

/// Returns status and body of a request for the settings of an app, or of a save if it has a body.
async fn app_settings(
    client: &Client,
    user: &str,
    app: &str,
    body: Option<String>,
) -> (u16, Value) {
    let path = format!("/internal/profile/me/apps/{app}/settings");
    let prepared = match body {
        None => request(client, Method::GET, user, &path),
        Some(body) => request(client, Method::PUT, user, &path).body(body),
    };
    let answer = prepared.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Of concurrent saves with one version, one succeeds. The others change nothing.
pub(crate) fn app_settings_of_one_version_are_saved_once() -> Result<(), Failed> {
    const SAVES: usize = 16;
    let user = format!("test-settings-{:x}", fastrand::u64(..));
    block_on(async {
        let client = client();
        let get = |user, app| app_settings(&client, user, app, None);
        let save = |body| app_settings(&client, &user, "portal", Some(body));
        let empty = json!({"app": "portal", "version": 0, "settings": {}, "updatedAt": null});
        assert_eq!(get(&user, "portal").await, (200, empty.clone()));
        for version in 0..3 {
            let bodies = (0..SAVES)
                .map(|number| json!({"version": version, "settings": {"by": number}}).to_string());
            let answers = join_all(bodies.map(save)).await;
            let mut saved = answers.iter().filter(|(status, _)| *status == 200);
            let (Some((_, winner)), None) = (saved.next(), saved.next()) else {
                panic!("not exactly one was saved: {answers:?}");
            };
            for (_, body) in answers.iter().filter(|(status, _)| *status != 200) {
                assert_eq!(body["error"]["code"], "VERSION_CONFLICT", "{body}");
            }
            assert_eq!(winner["version"], version + 1);
            assert_eq!(get(&user, "portal").await, (200, winner.clone()));
        }
        let (deep, long) = ("[".repeat(5_000), "x".repeat(17_000));
        for (body, code) in [
            (String::new(), "VALIDATION_ERROR"),
            (r#"{"version": 3}"#.to_owned(), "VALIDATION_ERROR"),
            (
                r#"{"version": -1, "settings": {}}"#.to_owned(),
                "VALIDATION_ERROR",
            ),
            (
                format!(r#"{{"version": 3, "settings": {{"a": "{long}"}}}}"#),
                "VALIDATION_ERROR",
            ),
            (
                r#"{"version": 3, "settings": []}"#.to_owned(),
                "VALIDATION_ERROR",
            ),
            (
                format!(r#"{{"version": 3, "settings": {{"a": {deep}"#),
                "INVALID_JSON",
            ),
        ] {
            let (status, answer) = save(body).await;
            assert_eq!(status, 400, "{answer}");
            assert_eq!(answer["error"]["code"], code, "{answer}");
        }
        assert_eq!(get(&user, "portal").await.1["version"], 3);
        // JSON can contain U+0000, which other texts cannot.
        let with_nul = json!({"version": 3, "settings": {"a": "\0"}}).to_string();
        let (status, saved) = save(with_nul).await;
        assert_eq!(status, 200, "{saved}");
        assert_eq!(get(&user, "portal").await, (200, saved.clone()));
        assert_eq!(saved["settings"]["a"], "\0");
        // Other apps and other users have settings of their own.
        assert_eq!(get(&user, "accounting").await.1["version"], 0);
        assert_eq!(get("test-settings", "portal").await, (200, empty));
        for app in ["Portal", "grafana", "%00", "%ff"] {
            let (status, body) = get(&user, app).await;
            assert_eq!(status, 404, "{app}");
            assert_eq!(body["error"]["code"], "APP_NOT_FOUND", "{body}");
        }
    });
    Ok(())
}

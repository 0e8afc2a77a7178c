//! The catalogue of images, from the recipes that are embedded in `dm`.

use std::collections::BTreeMap;

use dm_host::line_endings::to_unix_line_endings;

use super::artifact::Artifact;
use super::error::ImageError;
use super::recipe::{Recipe, RecipeFile, Sha256Digest, local_reference};
use super::settings::ImageSettings;

pub use super::settings::BASE_IMAGE;

/// The versions of the software that the recipes install.
mod version {
    pub(crate) const DEBIAN: &str = "13";
    pub(crate) const POSTGRES: &str = "17";
    pub(crate) const RABBITMQ: &str = "4";
    pub(crate) const OPENLDAP: &str = "2.6";
    pub(crate) const KEYCLOAK: &str = "26.7.3";
    /// The checksum of the distribution in the Maven repositories. Changes with the version.
    pub(crate) const KEYCLOAK_SHA256: &str =
        "77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47";
}

/// Every file under `recipes/`: component, path, contents.
static RECIPE_FILES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// The file with the instructions for the layer on top of an official image.
const OVERLAY_DOCKERFILE: &str = "Dockerfile.optimize";

/// One image, and how it is built or pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// How it is built.
    pub recipe: Recipe,
    /// The equivalent official image, if one exists.
    pub official: Option<String>,
    /// The recipe that is built on top of the official image before it is used. Its digest
    /// includes the id of the pulled image.
    pub overlay: Option<Recipe>,
}

/// The images of the stack by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    specs: BTreeMap<String, ImageSpec>,
}

impl Catalog {
    /// Returns the infrastructure images of the stack, with the additions of the settings.
    ///
    /// # Errors
    /// Returns [`ImageError::Io`] if a certificate file of the settings cannot be read, and
    /// [`ImageError::Fetch`] if it contains no certificate.
    pub fn from_settings(settings: &ImageSettings) -> Result<Self, ImageError> {
        let official = |component: &str| settings.official_images.get(component).cloned();
        let base = Recipe {
            files: base_files(settings)?,
            build_args: settings
                .apt_mirror
                .iter()
                .map(|mirror| (super::base::APT_MIRROR_ARG.to_owned(), mirror.clone()))
                .collect(),
            ..embedded_recipe(BASE_IMAGE, version::DEBIAN)
        };
        let mut keycloak = with_base_image(embedded_recipe("keycloak", version::KEYCLOAK));
        keycloak.artifacts.push(Artifact {
            group_id: "org.keycloak".to_owned(),
            artifact_id: "keycloak-quarkus-dist".to_owned(),
            version: version::KEYCLOAK.to_owned(),
            packaging: "tar.gz".to_owned(),
            context_path: "keycloak.tar.gz".to_owned(),
            sha256: version::KEYCLOAK_SHA256.to_owned(),
        });
        let overlay = split_overlay(&mut keycloak);
        Ok(Self::new([
            ImageSpec {
                recipe: base,
                official: official(BASE_IMAGE),
                overlay: None,
            },
            ImageSpec {
                recipe: with_base_image(embedded_recipe("postgres", version::POSTGRES)),
                official: official("postgres"),
                overlay: None,
            },
            ImageSpec {
                recipe: with_base_image(embedded_recipe("rabbitmq", version::RABBITMQ)),
                official: official("rabbitmq"),
                overlay: None,
            },
            ImageSpec {
                // No official image of OpenLDAP exists: only a configured one is used.
                recipe: with_base_image(embedded_recipe("openldap", version::OPENLDAP)),
                official: official("openldap"),
                overlay: None,
            },
            ImageSpec {
                recipe: keycloak,
                official: official("keycloak"),
                overlay,
            },
        ]))
    }

    /// Creates a catalogue of these images. It must contain every base under its name.
    #[must_use]
    pub fn new(specs: impl IntoIterator<Item = ImageSpec>) -> Self {
        Self {
            specs: specs
                .into_iter()
                .map(|spec| (spec.recipe.name.clone(), spec))
                .collect(),
        }
    }

    /// Returns the names, in alphabetical order.
    pub fn image_names(&self) -> impl Iterator<Item = &str> {
        self.specs.keys().map(String::as_str)
    }

    /// Returns all images.
    pub fn specs(&self) -> impl Iterator<Item = &ImageSpec> {
        self.specs.values()
    }

    /// Returns the image with a name.
    ///
    /// # Errors
    /// Returns [`ImageError::UnknownImage`] if the name is unknown.
    pub(crate) fn get(&self, name: &str) -> Result<&ImageSpec, ImageError> {
        self.specs
            .get(name)
            .ok_or_else(|| ImageError::UnknownImage {
                name: name.to_owned(),
                known: self.image_names().map(str::to_owned).collect(),
            })
    }

    /// Returns the digest of an image's recipe and of all recipes below it.
    ///
    /// # Errors
    /// Returns [`ImageError::UnknownImage`] if the image or a base is unknown.
    pub(crate) fn recipe_digest(&self, name: &str) -> Result<Sha256Digest, ImageError> {
        let recipe = &self.get(name)?.recipe;
        let base = match &recipe.base {
            Some(base) => Some(self.recipe_digest(base)?),
            None => None,
        };
        Ok(recipe.digest(base.as_ref().map(Sha256Digest::as_str)))
    }

    /// Returns the reference of the locally built image.
    ///
    /// # Errors
    /// Returns [`ImageError::UnknownImage`] if the image or a base is unknown.
    pub fn local_reference(&self, name: &str) -> Result<String, ImageError> {
        Ok(local_reference(name, &self.recipe_digest(name)?))
    }
}

/// Returns the embedded recipe of a component.
fn embedded_recipe(name: &str, version: &str) -> Recipe {
    Recipe {
        name: name.to_owned(),
        version: version.to_owned(),
        files: recipe_files(RECIPE_FILES, name),
        ..Recipe::default()
    }
}

/// Returns the files of a component from a table of components, paths and contents.
fn recipe_files(table: &[(&str, &str, &[u8])], name: &str) -> Vec<RecipeFile> {
    table
        .iter()
        .filter(|(component, _, _)| *component == name)
        .map(|(_, path, contents)| RecipeFile::new(*path, to_unix_line_endings(contents)))
        .collect()
}

fn with_base_image(recipe: Recipe) -> Recipe {
    Recipe {
        base: Some(BASE_IMAGE.to_owned()),
        ..recipe
    }
}

/// Moves the instructions for the official image from a recipe into a recipe of their own,
/// which also contains the other files.
fn split_overlay(recipe: &mut Recipe) -> Option<Recipe> {
    let position = recipe
        .files
        .iter()
        .position(|file| file.path == OVERLAY_DOCKERFILE)?;
    let instructions = recipe.files.remove(position);
    let mut files: Vec<_> = recipe
        .files
        .iter()
        .filter(|file| file.path != "Dockerfile")
        .cloned()
        .collect();
    files.push(RecipeFile::new("Dockerfile", instructions.contents));
    Some(Recipe {
        name: recipe.name.clone(),
        version: recipe.version.clone(),
        files,
        ..Recipe::default()
    })
}

/// Returns the embedded files of the base and the certificates of the settings.
fn base_files(settings: &ImageSettings) -> Result<Vec<RecipeFile>, ImageError> {
    let mut files = embedded_recipe(BASE_IMAGE, version::DEBIAN).files;
    for (index, path) in settings.extra_ca_certificates.iter().enumerate() {
        let pem = std::fs::read(path).map_err(ImageError::io(format!(
            "read {} (images.extra_ca_certificates)",
            path.display()
        )))?;
        if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
            return Err(ImageError::Fetch {
                resource: path.display().to_string(),
                reason: "it contains no PEM certificate".into(),
                hints: vec!["check images.extra_ca_certificates in dm.toml".into()],
            });
        }
        // update-ca-certificates reads only files that end in .crt.
        let name = format!("{}/{index}.crt", super::base::CERTIFICATES_DIR);
        files.push(RecipeFile::new(name, pem));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(settings: &ImageSettings) -> Catalog {
        Catalog::from_settings(settings).unwrap()
    }

    #[test]
    fn every_image_has_an_embedded_recipe() {
        let catalog = catalog(&ImageSettings::default());
        for spec in catalog.specs() {
            let name = spec.recipe.name.as_str();
            let file = if name == BASE_IMAGE {
                super::super::base::MMDEBSTRAP_ARGUMENTS
            } else {
                "Dockerfile"
            };
            let text = spec.recipe.file_text(file);
            let text = text.unwrap_or_else(|| panic!("{name} has no {file}"));
            if name != BASE_IMAGE {
                assert!(text.contains("ARG BASE"), "{name}");
            }
        }
    }

    #[test]
    fn recipe_of_a_checkout_with_crlf_equals_that_with_lf() {
        let files = |text: &[u8]| recipe_files(&[("postgres", "entrypoint", text)], "postgres");
        let unix = files(b"#!/bin/sh\nexec postgres\n");
        assert_eq!(unix[0].mode, 0o755);
        assert_eq!(files(b"#!/bin/sh\r\nexec postgres\r\n"), unix);
    }

    #[test]
    fn base_settings_change_the_digest_of_every_dependent_image() {
        let plain = catalog(&ImageSettings::default());
        let mirrored = catalog(&ImageSettings {
            apt_mirror: Some("http://mirror.example/debian".into()),
            ..ImageSettings::default()
        });
        let mut certificate = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut certificate, b"-----BEGIN CERTIFICATE-----\n").unwrap();
        let trusting = catalog(&ImageSettings {
            extra_ca_certificates: vec![certificate.path().to_owned()],
            ..ImageSettings::default()
        });
        for name in ["base", "postgres", "keycloak"] {
            let reference = |catalog: &Catalog| catalog.local_reference(name).unwrap();
            assert_ne!(reference(&plain), reference(&mirrored));
            assert_ne!(reference(&plain), reference(&trusting));
            assert_ne!(reference(&mirrored), reference(&trusting));
        }
    }

    #[test]
    fn mirrors_do_not_change_the_catalog() {
        let plain = catalog(&ImageSettings::default());
        let elsewhere = catalog(&ImageSettings {
            mirror: Some("127.0.0.1:5000".into()),
            maven_mirror: Some("http://mirror.example/maven".into()),
            ..ImageSettings::default()
        });
        assert_eq!(plain, elsewhere);
    }

    #[test]
    fn unknown_image_name_suggests_the_closest_name() {
        let error = catalog(&ImageSettings::default())
            .get("postgers")
            .unwrap_err();
        let hints = dm_core::error::UserError::suggestions(&error);
        insta::assert_snapshot!(hints.join("\n"), @r"
        did you mean postgres?
        the images are base, keycloak, openldap, postgres, rabbitmq
        ");
    }

    #[test]
    fn catalog_refuses_a_certificate_file_without_a_certificate() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Catalog::from_settings(&ImageSettings {
            extra_ca_certificates: vec![file.path().to_owned()],
            ..ImageSettings::default()
        })
        .unwrap_err();
        assert!(error.to_string().contains("contains no PEM certificate"));
    }
}

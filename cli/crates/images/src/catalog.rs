//! The images that `dm` knows, from the recipes that are embedded in it.

use std::collections::BTreeMap;

use dm_host::line_endings::to_unix_line_endings;

use super::artifact::Artifact;
use super::error::ImageError;
use super::recipe::{Recipe, RecipeFile, Sha256Digest, local_reference};
use super::settings::ImageSettings;

pub use super::settings::BASE_IMAGE;

/// The versions of what the recipes install.
mod version {
    pub(crate) const DEBIAN: &str = "13";
    pub(crate) const POSTGRES: &str = "17";
    pub(crate) const RABBITMQ: &str = "4";
    pub(crate) const OPENLDAP: &str = "2.6";
    pub(crate) const KEYCLOAK: &str = "26.7.3";
    /// Of its distribution in the Maven repositories. Changes with the version.
    pub(crate) const KEYCLOAK_SHA256: &str =
        "77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47";
}

/// Every file under `recipes/`: component, path, contents.
static RECIPE_FILES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// The instructions for the layer on top of an official image.
const OVERLAY_DOCKERFILE: &str = "Dockerfile.optimize";

/// One image and the ways to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// How it is built.
    pub recipe: Recipe,
    /// The official image that does the same, where there is one.
    pub official: Option<String>,
    /// What is built on top of the official image before it is used. Its digest
    /// takes in the id of what was pulled.
    pub overlay: Option<Recipe>,
}

/// The images that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    specs: BTreeMap<String, ImageSpec>,
}

impl Catalog {
    /// The infrastructure images of the stack, with what the settings add to them.
    ///
    /// # Errors
    /// Where a certificate file of the settings can't be read or is none.
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
        let on_top = split_overlay(&mut keycloak);
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
                // No official image of OpenLDAP exists: only one that is configured.
                recipe: with_base_image(embedded_recipe("openldap", version::OPENLDAP)),
                official: official("openldap"),
                overlay: None,
            },
            ImageSpec {
                recipe: keycloak,
                official: official("keycloak"),
                overlay: on_top,
            },
        ]))
    }

    /// A catalogue of these images. A base must be among them under its name.
    #[must_use]
    pub fn new(specs: impl IntoIterator<Item = ImageSpec>) -> Self {
        Self {
            specs: specs
                .into_iter()
                .map(|spec| (spec.recipe.name.clone(), spec))
                .collect(),
        }
    }

    /// The names, those that nothing else needs first.
    pub fn image_names(&self) -> impl Iterator<Item = &str> {
        self.specs.keys().map(String::as_str)
    }

    /// All images.
    pub fn specs(&self) -> impl Iterator<Item = &ImageSpec> {
        self.specs.values()
    }

    /// The image of a name.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn get(&self, name: &str) -> Result<&ImageSpec, ImageError> {
        self.specs
            .get(name)
            .ok_or_else(|| ImageError::UnknownImage {
                name: name.to_owned(),
                known: self.image_names().map(str::to_owned).collect(),
            })
    }

    /// The digest of an image's recipe and of all below it.
    ///
    /// # Errors
    /// Where there is no such image, or no such base.
    pub(crate) fn recipe_digest(&self, name: &str) -> Result<Sha256Digest, ImageError> {
        let recipe = &self.get(name)?.recipe;
        let base = match &recipe.base {
            Some(base) => Some(self.recipe_digest(base)?),
            None => None,
        };
        Ok(recipe.digest(base.as_ref().map(Sha256Digest::as_str)))
    }

    /// The reference that a built image has on this machine.
    ///
    /// # Errors
    /// As `Catalog::digest`.
    pub fn local_reference(&self, name: &str) -> Result<String, ImageError> {
        Ok(local_reference(name, &self.recipe_digest(name)?))
    }
}

/// The recipe of a component as it is embedded.
fn embedded_recipe(name: &str, version: &str) -> Recipe {
    Recipe {
        name: name.to_owned(),
        version: version.to_owned(),
        files: RECIPE_FILES
            .iter()
            .filter(|(component, _, _)| *component == name)
            .map(|(_, path, contents)| RecipeFile::new(*path, to_unix_line_endings(contents)))
            .collect(),
        ..Recipe::default()
    }
}

fn with_base_image(recipe: Recipe) -> Recipe {
    Recipe {
        base: Some(BASE_IMAGE.to_owned()),
        ..recipe
    }
}

/// Takes the instructions for the official image out of a recipe and makes a
/// recipe of their own of them, with the other files beside.
fn split_overlay(recipe: &mut Recipe) -> Option<Recipe> {
    let at = recipe
        .files
        .iter()
        .position(|file| file.path == OVERLAY_DOCKERFILE)?;
    let instructions = recipe.files.remove(at);
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

/// The embedded files of the base and the certificates that the settings add.
fn base_files(settings: &ImageSettings) -> Result<Vec<RecipeFile>, ImageError> {
    let mut files = embedded_recipe(BASE_IMAGE, version::DEBIAN).files;
    for (index, path) in settings.extra_ca_certificates.iter().enumerate() {
        let pem = std::fs::read(path).map_err(ImageError::io(format!(
            "read {} (images.extra_ca_certificates)",
            path.display()
        )))?;
        if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
            return Err(ImageError::Fetch {
                what: path.display().to_string(),
                reason: "it contains no PEM certificate".into(),
                hints: vec!["check images.extra_ca_certificates in dm.toml".into()],
            });
        }
        // update-ca-certificates takes files that end in .crt alone.
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
    fn every_image_has_its_recipe() {
        let catalog = catalog(&ImageSettings::default());
        for spec in catalog.specs() {
            let name = spec.recipe.name.as_str();
            let wanted = if name == BASE_IMAGE {
                super::super::base::MMDEBSTRAP_ARGUMENTS
            } else {
                "Dockerfile"
            };
            let text = spec.recipe.file_text(wanted);
            let text = text.unwrap_or_else(|| panic!("{name} has no {wanted}"));
            if name != BASE_IMAGE {
                assert!(text.contains("ARG BASE"), "{name}");
            }
        }
    }

    #[test]
    fn what_enters_the_base_changes_every_image_on_it() {
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
            let of = |catalog: &Catalog| catalog.local_reference(name).unwrap();
            assert_ne!(of(&plain), of(&mirrored));
            assert_ne!(of(&plain), of(&trusting));
            assert_ne!(of(&mirrored), of(&trusting));
        }
    }

    #[test]
    fn where_things_come_from_changes_nothing() {
        let plain = catalog(&ImageSettings::default());
        let elsewhere = catalog(&ImageSettings {
            mirror: Some("127.0.0.1:5000".into()),
            maven_mirror: Some("http://mirror.example/maven".into()),
            ..ImageSettings::default()
        });
        assert_eq!(plain, elsewhere);
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        let error = catalog(&ImageSettings::default())
            .get("postgers")
            .unwrap_err();
        let next = dm_core::error::UserError::suggestions(&error);
        insta::assert_snapshot!(next.join("\n"), @r"
        did you mean postgres?
        the images are base, keycloak, openldap, postgres, rabbitmq
        ");
    }

    #[test]
    fn a_certificate_file_must_hold_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Catalog::from_settings(&ImageSettings {
            extra_ca_certificates: vec![file.path().to_owned()],
            ..ImageSettings::default()
        })
        .unwrap_err();
        assert!(error.to_string().contains("contains no PEM certificate"));
    }
}

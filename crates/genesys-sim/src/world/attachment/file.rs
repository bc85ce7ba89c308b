//! Files that guests announce, and the rules for their upload.

use genesys_api::limits;

use crate::config::AttachmentRules;
use crate::world::frame::Refusal;
use crate::world::request::Fields;

/// A file that may be uploaded.
#[derive(Clone)]
pub(crate) struct File {
    pub(super) name: String,
    /// MIME type.
    pub(super) mime: String,
    /// Size in bytes.
    pub(super) size: u64,
}

impl File {
    /// Parses `fileName`, `fileType` and `fileSize`. `fileMd5` is optional; that it is not compared is our choice. That a
    /// blocked extension is an invalid type, and a missing one an invalid name, are inferences.
    pub(super) fn parse(rules: &AttachmentRules, fields: Fields<'_>) -> Result<Self, Refusal> {
        if !rules.enabled {
            return Err(Refusal::UPLOADS_OFF);
        }
        let (name, mime) = (fields.text("fileName")?, fields.text("fileType")?);
        let size = fields.count("fileSize")?;
        fields.optional_text("fileMd5")?;
        if name.chars().count() > limits::FILE_NAME_CHARACTERS {
            return Err(Refusal::coded(4005, "File name is too long"));
        }
        let extension = extension(name).ok_or_else(|| Refusal::coded(4004, "File name is invalid"))?;
        if rules.blocked_extensions.contains(&extension) {
            return Err(Refusal::coded(
                4001,
                format!("File type {extension} not supported"),
            ));
        }
        if !rules.file_types.iter().any(|allowed| includes(allowed, mime)) {
            return Err(Refusal::coded(4001, format!("File type {mime} not supported")));
        }
        let largest = u64::from(rules.max_file_kb()) * 1024;
        match size {
            0 => return Err(Refusal::coded(4102, "File is empty")),
            _ if size > largest => {
                let text = format!("File size {size} is larger than {largest}");
                return Err(Refusal::coded(4002, text));
            }
            _ => {}
        }
        Ok(Self {
            name: name.to_owned(),
            mime: mime.to_owned(),
            size,
        })
    }

    pub(super) fn media_type(&self) -> &'static str {
        match self.mime.split('/').next().unwrap_or_default() {
            "audio" => "Audio",
            "image" => "Image",
            "video" => "Video",
            _ => "File",
        }
    }
}

/// Returns the extension with its dot, in lower case, of a name that has one and is not a path.
fn extension(name: &str) -> Option<String> {
    if name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')) {
        return None;
    }
    let (stem, extension) = name.rsplit_once('.')?;
    let whole = !stem.trim().is_empty() && !extension.trim().is_empty();
    whole.then(|| format!(".{}", extension.to_lowercase()))
}

fn includes(allowed: &str, mime: &str) -> bool {
    let Some((class, name)) = mime.split_once('/') else {
        return false;
    };
    let is_clean = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
    let wanted = allowed.split_once('/').unwrap_or_default();
    is_clean(class)
        && is_clean(name)
        && (wanted.0 == "*" || wanted.0.eq_ignore_ascii_case(class))
        && (wanted.1 == "*" || wanted.1.eq_ignore_ascii_case(name))
}

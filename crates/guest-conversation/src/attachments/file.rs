//! A file of the guest.

use std::fmt;

use bytes::Bytes;
use genesys_api::wire::Length;

/// A file to attach: name, media type, content. `Debug` shows the length of the name and of the content.
#[derive(Clone, Eq, PartialEq)]
pub struct File {
    pub(super) name: Box<str>,
    pub(super) media_type: Box<str>,
    pub(super) body: Bytes,
}

impl File {
    /// A file whose media type follows from the extension of its name. Default: `application/octet-stream`.
    #[must_use]
    pub fn new(name: &str, body: Bytes) -> Self {
        let extension = extension(name).unwrap_or_default().to_ascii_lowercase();
        let known = MEDIA_TYPES
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(_, extensions)| extensions.split(' ').any(|known| known == extension));
        let media_type = known.map_or("application/octet-stream", |(media_type, _)| media_type);
        Self::with_media_type(name, media_type, body)
    }

    /// A file whose media type is known, such as `image/png`.
    #[must_use]
    pub fn with_media_type(name: &str, media_type: &str, body: Bytes) -> Self {
        Self {
            name: name.into(),
            media_type: media_type.to_ascii_lowercase().into(),
            body,
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The media type, lower case.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &Bytes {
        &self.body
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("name", &Length(&self.name))
            .field("media_type", &self.media_type)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// The part of a name after the last dot, unless one of its sides is empty.
pub(super) fn extension(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

/// Common media types (IANA), each with its extensions. `opus` is Ogg, as in Genesys' own SDK.
const MEDIA_TYPES: &str = "\
application/gzip gz tgz
application/json json
application/msword doc
application/pdf pdf
application/rtf rtf
application/vnd.ms-excel xls
application/vnd.ms-powerpoint ppt
application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.text odt
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/xml xml
application/zip zip
audio/aac aac
audio/mp4 m4a
audio/mpeg mp3
audio/ogg oga ogg opus
audio/wav wav
image/bmp bmp
image/gif gif
image/heic heic
image/jpeg jpe jpeg jpg
image/png png
image/svg+xml svg
image/tiff tif tiff
image/webp webp
text/csv csv
text/html htm html
text/plain log md text txt
video/mp4 m4v mp4
video/quicktime mov
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_type_follows_from_the_name() {
        let of = |name| File::new(name, Bytes::new()).media_type;
        assert_eq!(&*of("cat.PNG"), "image/png");
        assert_eq!(&*of("a.b.opus"), "audio/ogg");
        assert_eq!(&*of("photo.jpeg"), "image/jpeg");
        for name in ["", "png", ".png", "cat.", "cat.xyz", "cat. png"] {
            assert_eq!(&*of(name), "application/octet-stream", "{name:?}");
        }
    }

    #[test]
    fn debug_of_a_file_shows_no_name() {
        let file = File::new("anna.png", Bytes::from_static(b"x"));
        assert_eq!(
            format!("{file:?}"),
            r#"File { name: [8 bytes], media_type: "image/png", bytes: 1 }"#
        );
    }
}

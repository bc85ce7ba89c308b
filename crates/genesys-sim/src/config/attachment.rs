//! What guests may upload.

use std::time::Duration;

use genesys_api::limits;

/// Rules for attachments. Where Genesys documents none, they are our choice.
#[derive(Clone, Debug)]
pub struct AttachmentRules {
    /// Whether guests may upload at all; without, they are told 4000. Default: yes.
    pub enabled: bool,
    /// MIME types, `image/*` and `*/*` among them. Default `*/*`.
    pub file_types: Vec<String>,
    /// Extensions refused, with their dot, in lower case. Default `.ade` and `.adp`, the first of Genesys' list.
    pub blocked_extensions: Vec<String>,
    /// Largest file, in KiB. Default 10,240, as Genesys'; more counts as that.
    pub largest_kb: u32,
    /// How long an upload may be begun after its grant. Default ten minutes (inference).
    pub upload_lifetime: Duration,
    /// How long a download link lives. Default ten minutes, as Genesys'.
    pub download_lifetime: Duration,
    /// Most bytes held by all attachments together, 1 KiB at least for each; the next is refused with 5000. Default
    /// 64 MiB.
    pub most_bytes: u64,
}

impl Default for AttachmentRules {
    fn default() -> Self {
        Self {
            enabled: true,
            file_types: vec!["*/*".to_owned()],
            blocked_extensions: vec![".ade".to_owned(), ".adp".to_owned()],
            largest_kb: LARGEST_KB,
            upload_lifetime: limits::DOWNLOAD_LINK,
            download_lifetime: limits::DOWNLOAD_LINK,
            most_bytes: 64 * 1024 * 1024,
        }
    }
}

impl AttachmentRules {
    pub(crate) fn largest_kb(&self) -> u32 {
        self.largest_kb.min(LARGEST_KB)
    }
}

/// 10 MiB: Genesys' default, and the most that the listener reads.
pub(crate) const LARGEST_KB: u32 = limits::ATTACHMENT_KILOBYTES;

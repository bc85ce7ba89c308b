//! Rules for attachments.

use std::time::Duration;

use genesys_api::limits;

/// Rules for attachments. Those that Genesys does not document are our choice.
#[derive(Clone, Debug)]
pub struct AttachmentRules {
    /// Whether guests may upload; otherwise they are refused with 4000. Default: yes.
    pub enabled: bool,
    /// Allowed MIME types, such as `image/png`, `image/*` and `*/*`. Default `*/*`.
    pub file_types: Vec<String>,
    /// Refused extensions, with their dot, in lower case. Default `.ade` and `.adp`, the first of Genesys' list.
    pub blocked_extensions: Vec<String>,
    /// Largest file, in KiB. Default 10,240, as at Genesys, which is also the maximum.
    pub max_file_kb: u32,
    /// Lifetime of the grant of an upload. Default ten minutes (inference).
    pub upload_lifetime: Duration,
    /// Lifetime of a download link. Default ten minutes, as at Genesys.
    pub download_lifetime: Duration,
    /// Limit of bytes in all attachments together, each of which counts at least 1 KiB. The next is refused with
    /// 5000. Default 64 MiB.
    pub max_total_bytes: u64,
}

impl Default for AttachmentRules {
    fn default() -> Self {
        Self {
            enabled: true,
            file_types: vec!["*/*".to_owned()],
            blocked_extensions: vec![".ade".to_owned(), ".adp".to_owned()],
            max_file_kb: MAX_FILE_KB,
            upload_lifetime: limits::DOWNLOAD_LINK,
            download_lifetime: limits::DOWNLOAD_LINK,
            max_total_bytes: 64 * 1024 * 1024,
        }
    }
}

impl AttachmentRules {
    pub(crate) fn max_file_kb(&self) -> u32 {
        self.max_file_kb.min(MAX_FILE_KB)
    }
}

/// 10 MiB: Genesys' default, and the largest body that the listener reads.
pub(crate) const MAX_FILE_KB: u32 = limits::ATTACHMENT_KILOBYTES;

//! The error codes a registry may answer with.

use std::fmt;

/// A code in the `errors` list of a failed response.
///
/// The first fourteen are the closed list of the distribution-spec, section
/// "Error Codes" (code-1 to code-14). The last five are not in it; the CNCF
/// distribution registry (`registry/api/errcode`) sends them and clients know
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// code-1: the blob is unknown to the registry.
    BlobUnknown,
    /// code-2: the blob upload is invalid.
    BlobUploadInvalid,
    /// code-3: the blob upload is unknown to the registry.
    BlobUploadUnknown,
    /// code-4: the provided digest does not match the uploaded content.
    DigestInvalid,
    /// code-5: the manifest references a manifest or blob unknown to the registry.
    ManifestBlobUnknown,
    /// code-6: the manifest is invalid.
    ManifestInvalid,
    /// code-7: the manifest is unknown to the registry.
    ManifestUnknown,
    /// code-8: the repository name is invalid.
    NameInvalid,
    /// code-9: the repository name is not known to the registry.
    NameUnknown,
    /// code-10: the provided length does not match the content length.
    SizeInvalid,
    /// code-11: authentication is required.
    Unauthorized,
    /// code-12: the requested access is denied.
    Denied,
    /// code-13: the operation is unsupported.
    Unsupported,
    /// code-14: too many requests.
    TooManyRequests,
    /// distribution: the tag is not one the registry accepts.
    TagInvalid,
    /// distribution: the content range of an upload chunk is invalid.
    RangeInvalid,
    /// distribution: the `n` parameter is not an acceptable number.
    PaginationNumberInvalid,
    /// distribution: the service is not available.
    Unavailable,
    /// distribution: any other error.
    Unknown,
}

impl ErrorCode {
    /// Every code, in the order of the declaration.
    pub const ALL: [Self; 19] = [
        Self::BlobUnknown,
        Self::BlobUploadInvalid,
        Self::BlobUploadUnknown,
        Self::DigestInvalid,
        Self::ManifestBlobUnknown,
        Self::ManifestInvalid,
        Self::ManifestUnknown,
        Self::NameInvalid,
        Self::NameUnknown,
        Self::SizeInvalid,
        Self::Unauthorized,
        Self::Denied,
        Self::Unsupported,
        Self::TooManyRequests,
        Self::TagInvalid,
        Self::RangeInvalid,
        Self::PaginationNumberInvalid,
        Self::Unavailable,
        Self::Unknown,
    ];

    /// The code as sent in the response.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::TagInvalid => "TAG_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn codes_are_those_of_the_specification_and_of_distribution() {
        let names: Vec<String> = ErrorCode::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(
            names.join(" "),
            "BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID \
             MANIFEST_BLOB_UNKNOWN MANIFEST_INVALID MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN \
             SIZE_INVALID UNAUTHORIZED DENIED UNSUPPORTED TOOMANYREQUESTS TAG_INVALID \
             RANGE_INVALID PAGINATION_NUMBER_INVALID UNAVAILABLE UNKNOWN"
        );
    }

    #[test]
    fn all_lists_every_variant_in_order() {
        for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index);
        }
        assert_eq!(ErrorCode::Unknown as usize + 1, ErrorCode::ALL.len());
    }
}

//! What an S3 server's error means, in words for whoever runs the service.

use crate::blobs::BlobError;
use object_store::Error;

/// The end of a server's answer is of no more use.
const ANSWER_MAX_CHARS: usize = 400;

/// The codes by which servers say that there is no room: AWS has none, the others differ.
const FULL: [&str; 4] = ["QuotaExceeded", "StorageFull", "InsufficientStorage", "507 Insufficient Storage"];

pub fn failed(bucket: &str, prefix: &str, doing: &str, error: Error) -> BlobError {
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let denied = matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. });
    let hint = if has(&FULL) {
        tracing::error!("s3://{bucket}/{prefix} has no room left ({doing}): {}", cut(&text));
        return BlobError::Full;
    } else if has(&["SignatureDoesNotMatch", "InvalidAccessKeyId"]) {
        "the server does not accept AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    } else if denied {
        "access denied: the key needs s3:ListBucket on the bucket, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload below the prefix"
    } else if no_bucket(&text) {
        "there is no such bucket at AWS_ENDPOINT_URL; make it first"
    } else if has(&["builder error"]) {
        "AWS_ENDPOINT_URL is not a URL that may be asked; an http:// one needs AWS_ALLOW_HTTP=true"
    } else if has(&["error sending request", "Error getting credentials"]) {
        "the server cannot be reached: look at AWS_ENDPOINT_URL, AWS_REGION and the network; without AWS_ACCESS_KEY_ID the host's own role is asked for"
    } else {
        "the server refuses"
    };
    BlobError::Io(format!("s3://{bucket}/{prefix}, {doing}: {hint} ({})", cut(&text)))
}

/// Not the object is missing, but where it should be.
pub fn no_bucket(text: &str) -> bool {
    text.contains("NoSuchBucket")
}

/// A range that begins where the object ends or later.
pub fn beyond_the_end(error: &Error) -> bool {
    matches!(error, Error::Generic { source, .. } if source.to_string().contains("416 Range Not Satisfiable"))
}

fn cut(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ANSWER_MAX_CHARS).collect();
    line.trim().to_owned()
}

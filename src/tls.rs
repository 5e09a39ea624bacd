//! The one provider of cryptography for every encrypted link; the crates that open them bring none of their own.

/// To be called before a link is opened; more than once does no harm.
pub fn use_ring() {
    // Already installed is fine: there is only this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

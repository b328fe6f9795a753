//! How nodes are spoken to at `https://`: which cryptography, and whom this machine trusts to name servers. What a node
//! says is proven otherwise, by seals.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::output::Failure;

/// The settings of a client of these addresses. This machine's roots are read only where one of them asks for TLS: a
/// machine without any speaks http all the same.
pub fn settings(addresses: &[String]) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    if addresses.iter().any(|address| address.to_ascii_lowercase().starts_with("https:")) {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Failure::usage(
                "https: this machine has no root certificates (install ca-certificates, or name a file by SSL_CERT_FILE)",
            ));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Failure::bug(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whether a connection ended because of the certificate that was shown.
pub fn distrusts(error: &(dyn Error + 'static)) -> bool {
    let within = || error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>();
    let error = error.downcast_ref::<rustls::Error>().or_else(within);
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

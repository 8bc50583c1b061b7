//! What goes wrong on the way, in the words of `wasi:http`.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use tokio_rustls::rustls;
use wasmtime_wasi_http::Error;

use super::body::BodyRefused;
use crate::worker::Unreached;

/// A connection could not be made.
pub(super) fn connecting(error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            Error::DestinationIpUnroutable
        }
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Error::ConnectionTerminated,
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        _ => Error::DestinationUnavailable,
    }
}

/// Why a connection could not be made, as a worker process is told.
pub(super) fn unreached(error: &Error) -> Unreached {
    match error {
        Error::DnsTimeout => Unreached::ResolvingTimedOut,
        Error::DnsError { .. } => Unreached::NoAddress,
        Error::ConnectionTimeout => Unreached::TimedOut,
        Error::DestinationIpProhibited => Unreached::Prohibited,
        Error::DestinationIpUnroutable => Unreached::Unroutable,
        Error::ConnectionTerminated => Unreached::Terminated,
        Error::ConnectionRefused => Unreached::Refused,
        _ => Unreached::Unavailable,
    }
}

/// The same in a worker process, as the host told it.
pub(super) fn of_host(reason: Unreached) -> Error {
    match reason {
        Unreached::ResolvingTimedOut => Error::DnsTimeout,
        Unreached::NoAddress => Error::DnsError { rcode: None, info_code: None },
        Unreached::TimedOut => Error::ConnectionTimeout,
        Unreached::Prohibited => Error::DestinationIpProhibited,
        Unreached::Unroutable => Error::DestinationIpUnroutable,
        Unreached::Terminated => Error::ConnectionTerminated,
        Unreached::Refused => Error::ConnectionRefused,
        Unreached::NoCertificates => Error::ConfigurationError,
        Unreached::Unavailable => Error::DestinationUnavailable,
    }
}

/// TLS could not be agreed upon.
pub(super) fn securing(error: &io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        },
        Some(_) => Error::TlsProtocolError,
        None => match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => Error::ConnectionTerminated,
            _ => Error::TlsProtocolError,
        },
    }
}

/// The exchange broke off. `header_bytes` is how many the answer's may have.
pub(super) fn exchanging(error: &hyper::Error, header_bytes: u64) -> Error {
    if let Some(refused) = error.source().and_then(|source| source.downcast_ref::<BodyRefused>()) {
        return match refused {
            BodyRefused::TooLarge { limit_bytes } => Error::HttpRequestBodySize(Some(*limit_bytes)),
            BodyRefused::Abandoned => Error::HttpProtocolError,
        };
    }
    if error.is_parse_too_large() {
        let limit = u32::try_from(header_bytes).unwrap_or(u32::MAX);
        return Error::HttpResponseHeaderSectionSize(Some(limit));
    }
    if error.is_incomplete_message() {
        return Error::HttpResponseIncomplete;
    }
    if error.is_timeout() {
        return Error::HttpResponseTimeout;
    }
    let broken = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if broken.is_some_and(|broken| broken.kind() == ErrorKind::UnexpectedEof) {
        return Error::HttpResponseIncomplete;
    }
    if broken.is_some() || error.is_closed() || error.is_canceled() {
        return Error::ConnectionTerminated;
    }
    Error::HttpProtocolError
}

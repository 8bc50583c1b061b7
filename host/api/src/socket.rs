//! The Unix socket of a host: its owner's alone, and never a dead one's.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use axum::{Extension, Router};
use tokio::net::UnixListener;

use crate::auth::Peer;

/// Longest path of a Unix socket on Linux, in bytes.
const MAX_PATH_BYTES: usize = 107;
/// The socket's name in its folder.
const NAME: &str = "bulkhead.sock";
/// What follows its name until its permissions are set.
const UNREADY: &str = "~";

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The folder's path leaves no room for the socket's name.
    #[error(
        "the socket `{}` would have a path of {} bytes; at most {MAX_PATH_BYTES} are possible, so \
         choose a folder with a shorter path", path.display(), path.as_os_str().len()
    )]
    PathTooLong {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody answers there already.
    #[error(
        "the socket `{}` is served by another process; stop it, or choose another path",
        path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot serve the socket `{}`: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A socket that is listened to. It is removed when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Where the socket of a folder is.
    #[must_use]
    pub fn path_in(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// Listen in a folder that belongs to this process alone, as an embedded broker's does:
    /// a socket that is there already is a dead process's and is replaced. Only this user
    /// can connect.
    pub fn bind(folder: &Path) -> Result<Self, SocketError> {
        Self::replace(&Self::path_in(folder))
    }

    /// Listen at a path. A socket that is there already is replaced if nobody answers at it.
    /// Only this user can connect.
    pub fn bind_at(path: &Path) -> Result<Self, SocketError> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(SocketError::InUse { path: path.to_owned() });
        }
        Self::replace(path)
    }

    fn replace(path: &Path) -> Result<Self, SocketError> {
        let path = path.to_owned();
        let mut unready = path.clone().into_os_string();
        unready.push(UNREADY);
        let unready = PathBuf::from(unready);
        if unready.as_os_str().len() > MAX_PATH_BYTES {
            return Err(SocketError::PathTooLong { path });
        }
        let bound = || {
            match fs::remove_file(&unready) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&unready)?;
            fs::set_permissions(&unready, Permissions::from_mode(0o600))?;
            let inode = fs::metadata(&unready)?.ino();
            fs::rename(&unready, &path)?;
            Ok((listener, inode))
        };
        match bound() {
            Ok((listener, inode)) => Ok(Self { listener: Some(listener), path, inode }),
            Err(source) => Err(SocketError::Io { path, source }),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answer requests until `stop` ends; those that are being answered then may finish.
    /// Each request carries [`Peer::Socket`].
    pub async fn serve(
        mut self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), SocketError> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let router = router.layer(Extension(Peer::Socket));
        axum::serve(listener, router)
            .with_graceful_shutdown(stop)
            .await
            .map_err(|source| SocketError::Io { path: self.path.clone(), source })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A successor may have put its own socket there.
        if fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_replaces_a_dead_one_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(Socket::path_in(folder.path()), "left behind").unwrap();
        let socket = Socket::bind(folder.path()).unwrap();
        let mode = fs::metadata(socket.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let successor = Socket::bind(folder.path()).unwrap();
        drop(socket);
        assert!(successor.path().exists(), "a predecessor took the successor's socket away");
        let path = successor.path().to_owned();
        drop(successor);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_somebody_serves_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        fs::write(&path, "left behind").unwrap();
        let socket = Socket::bind_at(&path).unwrap();
        let error = Socket::bind_at(&path).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(socket);
        drop(Socket::bind_at(&path).unwrap());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_refused_with_its_length() {
        let folder = Path::new("/tmp").join("x".repeat(120));
        let error = Socket::bind(&folder).unwrap_err().to_string();
        assert!(error.contains("shorter path"), "{error}");
    }
}

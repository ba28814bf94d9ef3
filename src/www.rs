//! The files of `--www`: which of them may be seen, and how they are answered.
//!
//! Owns: the directory and the headers. Must not know: connections, the relay.
//!
//! tower-http maps a request to a file: its type, ranges, `ETag`, `Last-Modified` and what follows from them (RFC 9110
//! sections 13 and 14). What it opens goes through `Confined`.
//!
//! Invariants:
//! - Nothing is seen that is not a file below the directory after all symbolic links are followed, nor anything whose
//!   name, or that of a directory on its way, begins with a dot.
//! - Directories are not listed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tower_http::services::ServeDir;
use tower_http::services::fs::{
    Backend, DefaultServeDirFallback, ServeFileSystemResponseBody, TokioBackend, TokioFile,
};

/// Bytes of a file that are read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// What every answer says: any page may read it, whoever keeps a copy asks whether it is still good.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

/// See the module's head.
#[derive(Clone, Debug)]
pub struct Site(ServeDir<DefaultServeDirFallback, Confined>);

impl Site {
    /// The files of a directory.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn open(dir: &Path) -> io::Result<Site> {
        let dir = dir.canonicalize()?;
        if !dir.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let files = Confined { dir: dir.as_path().into() };
        let site = ServeDir::with_backend(dir, files).with_buf_chunk_size(CHUNK_BYTES);
        Ok(Site(site.ignore_multi_range_requests(true)))
    }

    /// The answer to a GET or HEAD; `None`: there is no such file. A path that names a directory without the slash at
    /// its end is sent there, so that relative links work.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn answer<B: Body + Send + 'static>(
        &self,
        request: Request<B>,
    ) -> io::Result<Option<Response<ServeFileSystemResponseBody>>> {
        // Two slashes would make the start of a redirect's path the name of another host.
        if request.uri().path().contains("//") {
            return Ok(None);
        }
        let mut response = match self.0.clone().try_call(request).await {
            Err(error) if is_absence(&error) => return Ok(None),
            response => response?,
        };
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        response.headers_mut().extend(HEADERS);
        name_charset(response.headers_mut());
        Ok(Some(response))
    }
}

/// The path, and not the system, is why nothing was opened.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    let kinds = [NotFound, NotADirectory, InvalidFilename, InvalidInput, PermissionDenied];
    kinds.contains(&error.kind())
}

/// Text is taken to be UTF-8.
fn name_charset(headers: &mut HeaderMap) {
    let Some(kind) = headers.get_mut(header::CONTENT_TYPE) else { return };
    let text = kind.to_str().unwrap_or_default();
    if text.starts_with("text/") && !text.contains("charset") {
        let text = format!("{text}; charset=utf-8");
        *kind = HeaderValue::from_str(&text).expect("a type is visible ASCII");
    }
}

/// The files below a directory and no others.
#[derive(Clone, Debug)]
struct Confined {
    /// Without symbolic links.
    dir: Arc<Path>,
}

impl Confined {
    /// Where a path leads, symbolic links followed.
    ///
    /// # Errors
    /// Nothing is there that may be seen.
    async fn resolve(&self, path: PathBuf) -> io::Result<PathBuf> {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        if self.is_hidden(&path) {
            return Err(absent());
        }
        let path = tokio::fs::canonicalize(path).await?;
        let about = tokio::fs::metadata(&path).await?;
        // Opening a pipe would wait for who writes to it.
        match self.is_hidden(&path) || !(about.is_file() || about.is_dir()) {
            true => Err(absent()),
            false => Ok(path),
        }
    }

    /// It is not below the directory, or a name on the way begins with a dot.
    fn is_hidden(&self, path: &Path) -> bool {
        let is_visible = |part: Component<'_>| match part {
            Component::Normal(name) => !begins_with_dot(name),
            _ => false,
        };
        !path.strip_prefix(&self.dir).is_ok_and(|below| below.components().all(is_visible))
    }
}

fn begins_with_dot(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

type Later<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Backend for Confined {
    type File = TokioFile;
    type Metadata = std::fs::Metadata;
    type OpenFuture = Later<TokioFile>;
    type MetadataFuture = Later<std::fs::Metadata>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let files = self.clone();
        Box::pin(async move { TokioBackend.open(files.resolve(path).await?).await })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let files = self.clone();
        Box::pin(async move { TokioBackend.metadata(files.resolve(path).await?).await })
    }
}

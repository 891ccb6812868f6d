//! Where a command prints what it was asked for: to stdout, or to a file that is whole or not there.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::wording::plain;

/// Where it is printed.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// Write to this file instead of stdout. It is replaced as a whole, or left as it was if something fails.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
}

impl Output {
    /// Prints. A reader who closes the pipe early is no error.
    pub fn write(&self, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let Some(path) = &self.out else {
            let mut out = anstream::stdout().lock();
            return match print(&mut out).and_then(|()| out.flush()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    Err(Failure::failed(format!("cannot write to stdout: {error}")))
                }
                _ => Ok(()),
            };
        };
        let mut text = anstream::StripStream::new(Vec::new());
        let written = print(&mut text).and_then(|()| replace(path, &text.into_inner()));
        let told = |error| {
            format!("cannot write {}: {error}; what was there is as it was", plain(&path.display().to_string()))
        };
        written.map_err(|error| Failure::failed(told(error)))
    }
}

/// Beside it first, so that nobody ever reads half of it.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let there = fs::metadata(path).ok();
    if there.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // A device or a pipe is written to: there is nothing to replace.
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        let mut device = fs::OpenOptions::new().write(true).open(path)?;
        return device.write_all(text).and_then(|()| device.flush());
    }
    // Where a link leads to, rather than the link.
    let path = if there.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".larder-");
    #[cfg(unix)]
    builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(text)?;
    if let Some(there) = there {
        file.as_file().set_permissions(Permissions::clone(&there.permissions()))?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    Ok(())
}

//! A file that is replaced as a whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::Failure;

pub struct Output {
    file: PathBuf,
    draft: NamedTempFile,
}

impl Output {
    /// Makes sure that the file can be written, without touching it: the draft lies beside it, and is gone unless it takes its
    /// place.
    pub fn to(file: PathBuf) -> Result<Self, Failure> {
        let failed = |source| Failure::Write { file: file.clone(), source };
        if file.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut draft = tempfile::Builder::new();
        draft.prefix(".report-");
        #[cfg(unix)]
        {
            // As any file: the umask takes away what is not wanted.
            use std::os::unix::fs::PermissionsExt;
            draft.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let draft = draft.tempfile_in(folder).map_err(failed)?;
        Ok(Self { file, draft })
    }

    /// Writes the text, and puts it where the file was.
    pub fn replace(mut self, text: &str) -> Result<(), Failure> {
        let written = self.draft.write_all(text.as_bytes()).and_then(|()| self.draft.as_file().sync_all());
        let replaced = written.and_then(|()| self.draft.persist(&self.file).map_err(|error| error.error));
        replaced.map(|_| ()).map_err(|source| Failure::Write { file: self.file, source })
    }
}

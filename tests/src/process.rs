//! Registries as separate processes.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a process may take to exit by itself.
const EXIT_LIMIT: Duration = Duration::from_secs(30);

/// How often to check whether it has.
const EXIT_PAUSE: Duration = Duration::from_millis(10);

/// A registry process, killed when dropped.
#[derive(Debug)]
pub struct Registry {
    /// `127.0.0.1:<port>`.
    pub address: String,
    process: Child,
    log: Arc<Mutex<String>>,
}

impl Registry {
    /// Starts the host's binary with its data in `root`, on a port chosen by
    /// the system, with additional variables and arguments.
    pub fn start(
        root: &Path,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(binary()?);
        command
            .arg("serve")
            .args(arguments)
            .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root)
            .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
            .envs(variables.iter().copied());
        Self::serve(command)
    }

    /// Starts the host's binary with its data in an object store.
    pub fn start_over(
        store: &[(String, String)],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(binary()?);
        command
            .arg("serve")
            .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
            .envs(store.iter().map(|(name, value)| (name, value)))
            .envs(variables.iter().copied());
        Self::serve(command)
    }

    /// Starts the host with the caller's command, which sets everything but the format of the
    /// log: that is text, unless the caller sets another.
    pub fn serve(mut command: Command) -> anyhow::Result<Self> {
        const FORMAT: &str = "REGISTRY_LOG_FORMATTER";
        if !command.get_envs().any(|(name, _)| name == FORMAT) {
            command.env(FORMAT, "text");
        }
        Self::spawn(command, |line| {
            let rest = line.split_once("serving ")?.1.split_once("://")?.1;
            Some(rest.split_once(" from ")?.0.to_owned())
        })
    }

    /// Starts a server of any kind; `address` extracts its address from a line of
    /// its log.
    pub fn spawn(
        mut command: Command,
        address: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = process.stderr.take().ok_or_else(|| anyhow::anyhow!("no stderr"))?;
        let mut lines = BufReader::new(stderr).lines();
        let mut seen = String::new();
        let address = loop {
            let Some(line) = lines.next().transpose()? else {
                anyhow::bail!("{command:?} ended: {:?}\n{seen}", process.wait()?);
            };
            seen.push_str(&line);
            seen.push('\n');
            if let Some(address) = address(&line) {
                break address;
            }
        };
        let log = Arc::new(Mutex::new(seen));
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Ok(mut log) = sink.lock() {
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        });
        Ok(Self { address, process, log })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// Kills it, like `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Waits until it exits by itself.
    pub fn wait(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        let deadline = Instant::now() + EXIT_LIMIT;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            anyhow::ensure!(Instant::now() < deadline, "still running after {EXIT_LIMIT:?}");
            std::thread::sleep(EXIT_PAUSE);
        }
    }

    /// Sends a signal by name, for example `TERM`.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status()?;
        anyhow::ensure!(status.success(), "kill: {status}");
        Ok(())
    }

    /// Its peak resident memory, in bytes (Linux only).
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kibibytes.ok_or_else(|| anyhow::anyhow!("no VmHWM"))?.trim().parse::<u64>()? * 1024)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.kill();
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.address, self.log());
        }
    }
}

/// A user without any rights.
#[cfg(unix)]
const NOBODY: u32 = 65_534;

/// A command of a user whom permissions and limits apply to, which they do not
/// for root. The program is copied into `root`, which is made this user's. `None`
/// if that takes `setpriv`, and it is not installed.
#[cfg(unix)]
pub fn unprivileged(root: &Path, program: &Path) -> anyhow::Result<Option<Command>> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let user = std::fs::metadata("/proc/self").or_else(|_| std::fs::metadata(root))?.uid();
    if user != 0 {
        return Ok(Some(Command::new(program)));
    }
    let Some(setpriv) = binary_named(&["setpriv"]) else { return Ok(None) };
    // The build's directory may be closed to others.
    let own = root.join(program.file_name().unwrap_or_default());
    std::fs::copy(program, &own)?;
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755))?;
    chown(root, Some(NOBODY), Some(NOBODY))?;
    let mut command = Command::new(setpriv);
    let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
    command.args(ids).args(["--clear-groups", "--"]).arg(own);
    Ok(Some(command))
}

/// The host's binary, next to the running test.
pub fn binary() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let name = format!("roadstead-under-test{}", std::env::consts::EXE_SUFFIX);
    let found = test.ancestors().map(|directory| directory.join(&name)).find(|path| path.is_file());
    found.ok_or_else(|| anyhow::anyhow!("{name} is not built"))
}

/// A command of the host's binary, without the test's own settings.
///
/// # Panics
/// When it is not built.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(binary().unwrap());
    command.args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REGISTRY_")) {
        command.env_remove(name);
    }
    command
}

/// The first of these programs that is on the `PATH`, or among the tools that
/// the CI scripts installed.
pub fn binary_named(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut directories: Vec<_> = std::env::split_paths(&path).collect();
    directories.extend(target_directory().ok().map(|target| target.join("tools/bin")));
    let place = |name: &&str| directories.iter().map(|d| d.join(name)).find(|file| file.is_file());
    names.iter().find_map(place)
}

/// The target directory of this build.
pub fn target_directory() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let tagged = test.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    // Cargo tags only directories that it creates itself; in others, this is
    // <target>/<profile>/deps/<test>.
    let found = tagged.or(test.ancestors().nth(3));
    Ok(found.ok_or_else(|| anyhow::anyhow!("no target directory above the test"))?.to_owned())
}

/// The component under `wasmtime serve`, over a mounted directory.
#[derive(Debug)]
pub struct Wasmtime;

impl Wasmtime {
    /// Starts it; `None` without wasmtime: neither `$WASMTIME` nor one on the
    /// `PATH`.
    pub fn start(root: &Path) -> anyhow::Result<Option<Registry>> {
        Self::start_with(root, &[])
    }

    /// The same with additional variables.
    pub fn start_with(root: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Option<Registry>> {
        let mount = format!("{}::/data", root.display());
        let data = [("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data")];
        let variables = [&data, variables].concat();
        Self::serve(&Self::component()?, &["--dir", &mount], &variables)
    }

    /// The file that is served: one for all tests, beside nothing that they look at.
    pub fn component() -> anyhow::Result<PathBuf> {
        Ok(target_directory()?.join("component-under-test.wasm"))
    }

    /// The component, written to a file, without a directory.
    pub fn start_bare(
        component: &Path,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Option<Registry>> {
        Self::serve(component, &[], variables)
    }

    fn serve(
        component: &Path,
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Option<Registry>> {
        let wasmtime = std::env::var("WASMTIME").unwrap_or_else(|_| "wasmtime".to_owned());
        let version = Command::new(&wasmtime).arg("--version").stdout(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        // Tests at the same time write the same file: it appears whole.
        let part = tempfile::NamedTempFile::new_in(component.parent().unwrap_or(Path::new(".")))?;
        std::fs::write(&part, roadstead_embedded::COMPONENT)?;
        part.persist(component)?;
        let mut command = Command::new(&wasmtime);
        command
            .args(["serve", "-S", "cli", "--addr", "127.0.0.1:0"])
            .args(options)
            .args(variables.iter().flat_map(|(n, v)| ["--env".to_owned(), format!("{n}={v}")]))
            .arg(component);
        let address = |line: &str| {
            let rest = line.split_once("http://")?.1;
            Some(rest.trim_end_matches('/').to_owned())
        };
        Registry::spawn(command, address).map(Some)
    }
}

/// Prints that a test was skipped, and why. Returns `true`.
pub fn skip(test: &str, reason: &str) -> bool {
    // Not with a macro, whose output the test harness captures.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
    true
}

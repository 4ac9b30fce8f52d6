//! Hands the listening sockets from one gateway process to the next, so that they are never closed. The old process exits only after
//! the new one has confirmed that it serves.
//!
//! The handover socket is for one user alone: a process that can connect to it could serve in the gateway's name. So its folder must
//! belong to this user, and the peer must run as the same user. Pingora's own handover is not used: its socket is open to everybody on
//! the machine, the old process exits without knowing whether the new one works, and it passes raw descriptor numbers, which only
//! unsafe code can turn into sockets.

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixListener;

/// A gateway has at most two client listeners and one admin listener.
const MAX_SOCKETS: usize = 3;
/// The timeout for a message that is due at once.
const IO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new process may take to start serving.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const SOCKETS: u8 = b's';
const READY: u8 = b'r';

/// Sockets inherited from the previous process.
pub(super) struct Inherited {
    sockets: Vec<TcpListener>,
    previous: UnixStream,
}

impl Inherited {
    /// Requests the sockets from the process that listens at this path. Blocks for a few seconds at most.
    pub(super) fn from(path: &Path) -> io::Result<Self> {
        let previous = UnixStream::connect(path)?;
        previous.set_read_timeout(Some(IO_TIMEOUT))?;
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut word = [0];
        let received = recvmsg(
            &previous,
            &mut [IoSliceMut::new(&mut word)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes != 1 || word != [SOCKETS] || received.flags.contains(ReturnFlags::CTRUNC)
        {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the process at that path does not hand over sockets",
            ));
        }
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors.map(TcpListener::from));
            }
        }
        Ok(Self { sockets, previous })
    }

    /// Returns whether a process listens at this path. It sees a connection that closes at once.
    pub(super) fn is_available(path: &Path) -> bool {
        UnixStream::connect(path).is_ok()
    }

    /// Takes the socket that listens on this address, if there is one.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self
            .sockets
            .iter()
            .position(|socket| socket.local_addr().is_ok_and(|bound| bound == address))?;
        Some(self.sockets.swap_remove(at))
    }

    /// Tells the previous process that this one serves. Closes the sockets that were not taken.
    pub(super) fn confirm(mut self) -> io::Result<()> {
        self.previous.write_all(&[READY])
    }
}

/// Listens for the process that will replace this one.
pub(super) struct Handover {
    listener: UnixListener,
    sockets: Vec<TcpListener>,
}

impl Handover {
    /// Listens at this path, where the previous process may have listened.
    pub(super) fn bind(path: &Path, sockets: Vec<TcpListener>) -> io::Result<Self> {
        refuse_folder_of_others(path)?;
        // Bind another name first and rename it, so that the path always has a listener.
        let new = with_suffix(path, ".new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        fs::rename(&new, path)?;
        Ok(Self { listener, sockets })
    }

    /// Returns once another process has taken over.
    pub(super) async fn done(self) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(IO_TIMEOUT).await;
                continue;
            };
            let is_ours = stream
                .peer_cred()
                .is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw());
            if !is_ours {
                tracing::warn!(target: "gateway", "refused to hand the sockets over to another user");
                continue;
            }
            let sent = stream.into_std().and_then(|stream| {
                stream.set_nonblocking(false)?;
                self.send_sockets(&stream)?;
                Ok(stream)
            });
            tracing::info!(target: "gateway", "handed the sockets over to a new process");
            let answer = tokio::task::spawn_blocking(move || sent.and_then(await_ready)).await;
            match answer {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::error!(target: "gateway", %error, "the new process does not serve, continuing")
                }
                Err(error) => {
                    tracing::error!(target: "gateway", %error, "cannot wait for the new process, continuing")
                }
            }
        }
    }

    fn send_sockets(&self, stream: &UnixStream) -> io::Result<()> {
        let sockets: Vec<_> = self.sockets.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::Error::other("there are too many sockets to hand over"));
        }
        sendmsg(
            stream,
            &[IoSlice::new(&[SOCKETS])],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }
}

fn await_ready(mut stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(START_TIMEOUT))?;
    let mut word = [0];
    stream.read_exact(&mut word)?;
    if word == [READY] {
        Ok(())
    } else {
        Err(ErrorKind::InvalidData.into())
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// In a folder that other users can write to, they could replace the socket by their own.
fn refuse_folder_of_others(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let metadata = fs::metadata(folder)?;
    let is_ours =
        metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0;
    if is_ours {
        return Ok(());
    }
    let what = format!(
        "{} must belong to this user, and nobody else may write to it",
        folder.display()
    );
    Err(io::Error::new(ErrorKind::PermissionDenied, what))
}

/// Notifies systemd, if it started this process (`sd_notify(3)`).
pub(super) fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(target: "gateway", %error, "failed to notify systemd: {}", state.replace('\n', " "));
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let bytes = socket.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => UnixAddress::from_abstract_name(name)?,
        None => UnixAddress::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(state.as_bytes(), &address)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").expect("a port")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sockets_go_over_by_their_addresses_and_the_former_process_ends_when_the_new_one_serves()
     {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("permissions");
        let path = folder.path().join("handover.sock");
        let sockets = [listener(), listener()];
        let addresses = sockets
            .each_ref()
            .map(|socket| socket.local_addr().expect("bound"));
        let handover = Handover::bind(&path, sockets.into_iter().collect()).expect("it waits");
        assert_eq!(
            fs::metadata(&path).expect("it is there").mode() & 0o777,
            0o600
        );
        let mut previous = tokio::spawn(handover.done());
        let connect = |path: PathBuf| tokio::task::spawn_blocking(move || Inherited::from(&path));

        // One that does not come to serve changes nothing.
        drop(
            connect(path.clone())
                .await
                .expect("no panic")
                .expect("sockets"),
        );
        assert!(
            tokio::time::timeout(Duration::from_millis(200), &mut previous)
                .await
                .is_err()
        );

        let mut inherited = connect(path).await.expect("no panic").expect("sockets");
        let taken = inherited.take(addresses[1]).expect("handed over");
        assert_eq!(taken.local_addr().expect("bound"), addresses[1]);
        assert!(
            inherited.take(addresses[1]).is_none()
                && inherited
                    .take("127.0.0.1:1".parse().expect("an address"))
                    .is_none()
        );
        inherited.confirm().expect("sent");
        previous.await.expect("no panic");
        // What was queued meanwhile is not lost.
        let client = std::net::TcpStream::connect(addresses[1]).expect("it is still listened on");
        assert_eq!(
            taken.accept().expect("a client").1,
            client.local_addr().expect("bound")
        );
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("permissions");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _inside = runtime.enter();
        let refused = Handover::bind(&folder.path().join("x"), Vec::new())
            .err()
            .expect("refused");
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn systemd_is_told_at_a_path_or_at_a_name_without_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let name = format!("vtnr-gateway-{}", std::process::id());
        let abstract_name = UnixAddress::from_abstract_name(&name).expect("a name");
        let sockets = [
            (path.as_os_str().to_owned(), UnixDatagram::bind(&path)),
            (
                format!("@{name}").into(),
                UnixDatagram::bind_addr(&abstract_name),
            ),
        ];
        for (address, socket) in sockets {
            send(&address, "READY=1").expect("it is sent");
            let mut state = [0; 16];
            let length = socket
                .expect("bound")
                .recv(&mut state)
                .expect("a notification");
            assert_eq!(&state[..length], b"READY=1", "{address:?}");
        }
    }
}

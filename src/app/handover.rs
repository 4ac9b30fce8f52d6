//! One process of the gateway takes another's place: it is given the sockets that are listened on, so that they are never closed, and
//! says when it serves; only then does the former one end.
//!
//! The socket for this is for this user alone: whoever can connect to it could serve in the gateway's name. So its folder must be
//! nobody else's, and who connects must be of the same user. Pingora has such a hand-over too; it is not used, since its socket is open
//! to everybody on the machine, the former process ends without knowing whether the new one works, and what it hands over are
//! bare numbers, which only unsafe code can turn into sockets.

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

/// As many sockets as a gateway listens on.
const MOST_SOCKETS: usize = 3;
/// For a word that is due at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// A new process may take so long until it serves.
const START: Duration = Duration::from_secs(60);
const SOCKETS: u8 = b's';
const SERVES: u8 = b'r';

/// What a former process handed over.
pub(super) struct Inherited {
    sockets: Vec<TcpListener>,
    former: UnixStream,
}

impl Inherited {
    /// Asks the process that waits at this path. It blocks for some seconds at most.
    pub(super) fn from(path: &Path) -> io::Result<Self> {
        let former = UnixStream::connect(path)?;
        former.set_read_timeout(Some(PATIENCE))?;
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut word = [0];
        let told = recvmsg(
            &former,
            &mut [IoSliceMut::new(&mut word)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if told.bytes != 1 || word != [SOCKETS] || told.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "what waits there does not hand sockets over",
            ));
        }
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(handed) = message {
                sockets.extend(handed.map(TcpListener::from));
            }
        }
        Ok(Self { sockets, former })
    }

    /// Whether a process waits at this path. It sees somebody come and go away again.
    pub(super) fn is_to_be_had(path: &Path) -> bool {
        UnixStream::connect(path).is_ok()
    }

    /// The socket that listens on this address, if there is one.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self
            .sockets
            .iter()
            .position(|socket| socket.local_addr().is_ok_and(|own| own == address))?;
        Some(self.sockets.swap_remove(at))
    }

    /// Says that this process serves. Sockets that nobody took are closed.
    pub(super) fn serves(mut self) -> io::Result<()> {
        self.former.write_all(&[SERVES])
    }
}

/// Waits for a process that is to take this one's place.
pub(super) struct Handover {
    listener: UnixListener,
    sockets: Vec<TcpListener>,
}

impl Handover {
    /// Waits at this path, where a former process may have waited.
    pub(super) fn wait_at(path: &Path, sockets: Vec<TcpListener>) -> io::Result<Self> {
        refuse_folder_of_others(path)?;
        // Another name first, so that there always is somebody at the path.
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

    /// Returns once another process serves in this one's place.
    pub(super) async fn done(self) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(PATIENCE).await;
                continue;
            };
            let is_ours = stream
                .peer_cred()
                .is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw());
            if !is_ours {
                tracing::warn!(target: "gateway", "refused to hand the sockets over to another user");
                continue;
            }
            let given = stream.into_std().and_then(|stream| {
                stream.set_nonblocking(false)?;
                self.give(&stream)?;
                Ok(stream)
            });
            tracing::info!(target: "gateway", "handed the sockets over to a new process");
            let answer = tokio::task::spawn_blocking(move || given.and_then(await_word)).await;
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

    fn give(&self, stream: &UnixStream) -> io::Result<()> {
        let sockets: Vec<_> = self.sockets.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::Error::other(
                "there are more sockets than can be handed over",
            ));
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

fn await_word(mut stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(START))?;
    let mut word = [0];
    stream.read_exact(&mut word)?;
    if word == [SERVES] {
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

/// Others could put a socket of theirs in the place of ours, in a folder that they can write to.
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

/// Tells systemd, where it started this process, something about it (`sd_notify(3)`).
pub(super) fn notify(what: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, what) {
        tracing::warn!(target: "gateway", %error, "failed to notify systemd: {}", what.replace('\n', " "));
    }
}

fn send(socket: &OsStr, what: &str) -> io::Result<()> {
    let bytes = socket.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => UnixAddress::from_abstract_name(name)?,
        None => UnixAddress::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(what.as_bytes(), &address)
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
        let waits = Handover::wait_at(&path, sockets.into_iter().collect()).expect("it waits");
        assert_eq!(
            fs::metadata(&path).expect("it is there").mode() & 0o777,
            0o600
        );
        let mut former = tokio::spawn(waits.done());
        let connect = |path: PathBuf| tokio::task::spawn_blocking(move || Inherited::from(&path));

        // One that does not come to serve changes nothing.
        drop(
            connect(path.clone())
                .await
                .expect("no panic")
                .expect("sockets"),
        );
        assert!(
            tokio::time::timeout(Duration::from_millis(200), &mut former)
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
        inherited.serves().expect("told");
        former.await.expect("no panic");
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
        let refused = Handover::wait_at(&folder.path().join("x"), Vec::new())
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
            let mut told = [0; 16];
            let length = socket.expect("bound").recv(&mut told).expect("it is told");
            assert_eq!(&told[..length], b"READY=1", "{address:?}");
        }
    }
}

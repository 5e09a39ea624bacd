//! A queue's own hook: a command that reads the job from its standard input. Only the site's configuration names one.

use super::{End, Tried};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// What is kept of what it says.
const SAID_MAX_BYTES: u64 = 1024;
/// Tells how the command ended on a channel of its own: whoever asks first, and that may be the reaper of orphans, is the only one
/// whom the system tells.
const TELLING: &str = "{ sh -c \"$1\"; } 1>&2; echo $?";

pub fn is_url(hook: &str) -> bool {
    hook.starts_with("https://") || hook.starts_with("http://")
}

/// What a command has started, and the shell that waits for it: ended when nobody waits any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already is fine.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs it once. Success is an exit code of 0. Dropped, it ends the command with all that it has started.
pub async fn run(command: &str, body: &str) -> Tried {
    let mut child = match start(command) {
        Ok(child) => child,
        Err(error) => return Tried::failed(error),
    };
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let (code, said) = match talk(&mut child, body).await {
        Ok(ended) => ended,
        Err(error) => return Tried::failed(error),
    };
    match code.trim().parse::<u16>() {
        Ok(code) => {
            group.0 = None;
            Tried { end: if code == 0 { End::Delivered } else { End::Failed }, status: Some(code), answer: said }
        }
        // Its shell was killed.
        Err(_) => Tried { end: End::Failed, status: None, answer: said },
    }
}

/// Without our environment, which has secrets in it.
fn start(command: &str) -> std::io::Result<Child> {
    let kept = ["PATH", "HOME", "LANG", "TZ"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut sh = Command::new("/bin/sh");
    sh.args(["-c", TELLING, "sh", command]).env_clear().envs(kept).process_group(0).kill_on_drop(true);
    sh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Its code, and the beginning of what it said.
async fn talk(child: &mut Child, body: &str) -> std::io::Result<(String, Option<String>)> {
    let (mut input, mut code, mut said) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let give = async {
        if let Some(mut input) = input.take() {
            // A command need not read it.
            let _ = input.write_all(body.as_bytes()).await;
        }
    };
    let hear = async {
        let (mut kept, mut rest) = (Vec::new(), tokio::io::sink());
        if let Some(said) = &mut said {
            said.take(SAID_MAX_BYTES).read_to_end(&mut kept).await?;
            tokio::io::copy(said, &mut rest).await?;
        }
        Ok::<_, std::io::Error>(kept)
    };
    let end = async {
        let mut text = String::new();
        if let Some(code) = &mut code {
            code.read_to_string(&mut text).await?;
        }
        Ok::<_, std::io::Error>(text)
    };
    let ((), said, code) = tokio::join!(give, hear, end);
    let said = String::from_utf8_lossy(&said?).into_owned();
    Ok((code?, Some(said).filter(|text| !text.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_reads_the_job_and_its_code_decides() {
        let tried = run("cat; echo \"$0\" >&2", "the job").await;
        assert_eq!((tried.end, tried.answer.as_deref()), (End::Delivered, Some("the jobsh\n")));
        let tried = run("echo no >&2; exit 3", "the job").await;
        assert_eq!((tried.end, tried.status, tried.answer.as_deref()), (End::Failed, Some(3), Some("no\n")));
        assert_eq!(run("kill -9 $$", "").await.status, Some(137));
        assert_eq!(run("exit 0", &"x".repeat(1 << 20)).await.end, End::Delivered, "what is not read is no fault");
        assert_eq!(run("no-such-command", "").await.status, Some(127));
    }

    #[tokio::test]
    async fn a_command_that_is_not_waited_for_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let command = format!("mkfifo {0}; (echo; exec sleep 1000) > {0} & wait", pipe.display());
        let begun = tokio::spawn(async move { run(&command, "").await });
        // The sleeper's end of it is closed when that is gone.
        let deadline = std::time::Duration::from_secs(20);
        let opened = tokio::time::timeout(deadline, async {
            loop {
                match tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe) {
                    Ok(opened) => return opened,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        let (mut opened, mut rest) = (opened.await.unwrap(), Vec::new());
        tokio::time::timeout(deadline, opened.read_u8()).await.unwrap().unwrap();
        begun.abort();
        tokio::time::timeout(deadline, opened.read_to_end(&mut rest)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_command_knows_no_secrets() {
        let tried = run("env", "").await;
        let said = tried.answer.unwrap();
        assert!(said.contains("PATH=") && !said.contains("CARGO"), "{said}");
    }
}

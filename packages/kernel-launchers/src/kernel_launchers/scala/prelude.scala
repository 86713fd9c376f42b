package kernel_launchers

// Looks its own cells up where the compiler knows them already: the library's way begins a second compiler's worth of
// symbols, Java's reflection, before the first cell.
class Interpreter(settings: scala.tools.nsc.Settings, reporter: scala.tools.nsc.interpreter.ReplReporter)
    extends scala.tools.nsc.interpreter.IMain(settings, reporter) {
  override def getModuleIfDefined(path: String): global.Symbol =
    global.rootMirror.getModuleIfDefined(path).orElse(super.getModuleIfDefined(path))
}

// What every cell can use as `kernel`, and what the kernel asks of its JVM. Frames in the output say what isn't text: they
// keep its order.
object kernel {
  private var token: String = ""
  private var interpreter: scala.tools.nsc.interpreter.IMain = null
  private var lines: java.util.concurrent.BlockingQueue[String] = null

  private val out = java.lang.System.out
  private val err = java.lang.System.err
  private val encoder = java.util.Base64.getEncoder

  private def bytes(text: String): Array[Byte] = text.getBytes("UTF-8")

  private def frame(stream: java.io.PrintStream, kind: String, parts: Array[Byte]*): Unit = {
    val body = parts.map(encoder.encodeToString).mkString(" ")
    val whole = bytes("\u0000" + token + " " + kind + " " + body + "\u0000")
    stream.synchronized { stream.write(whole, 0, whole.length); stream.flush() }
  }

  /** Ends the output of a cell. */
  def mark(): Unit = { Console.flush(); frame(out, "end"); frame(err, "end") }

  /** Lets what was printed without a line's end be seen. */
  def flush(): Unit = { out.flush(); err.flush() }

  /** Asks the notebook's user for a line. */
  def input(prompt: String = ""): String = { frame(out, "input", bytes(prompt)); lines.take() }

  private class Lines extends java.io.InputStream {
    private var rest: Array[Byte] = Array()
    private var at = 0
    private def more(): Unit = if (at >= rest.length) {
      frame(out, "input")
      rest = bytes(lines.take() + "\n")
      at = 0
    }
    override def read(): Int = { more(); at += 1; rest(at - 1) & 0xff }
    override def read(into: Array[Byte], from: Int, most: Int): Int = {
      more()
      val count = math.min(most, rest.length - at)
      java.lang.System.arraycopy(rest, at, into, from, count)
      at += count
      count
    }
    override def available(): Int = rest.length - at
  }

  /** Is told what belongs to this process, before the first cell. */
  def begin(
      ownToken: String,
      ownInterpreter: scala.tools.nsc.interpreter.IMain,
      ownLines: java.util.concurrent.BlockingQueue[String]
  ): Unit = {
    token = ownToken
    interpreter = ownInterpreter
    lines = ownLines
    java.lang.System.setIn(new Lines)
  }

  /** Shows what isn't text: `kernel.display.html("<b>bold</b>")`. */
  object display {
    def content(mimeType: String, data: String): Unit = frame(out, "display", bytes(mimeType), bytes(data))
    def html(text: String): Unit = content("text/html", text)
    def markdown(text: String): Unit = content("text/markdown", text)
    def latex(text: String): Unit = content("text/latex", text)
    def javascript(text: String): Unit = content("application/javascript", text)
    def svg(text: String): Unit = content("image/svg+xml", text)
    def json(text: String): Unit = content("application/json", text)
    def png(data: Array[Byte]): Unit = content("image/png", encoder.encodeToString(data))
    def jpeg(data: Array[Byte]): Unit = content("image/jpeg", encoder.encodeToString(data))
    def image(picture: java.awt.image.RenderedImage): Unit = {
      val written = new java.io.ByteArrayOutputStream
      javax.imageio.ImageIO.write(picture, "png", written)
      png(written.toByteArray)
    }
    def clear(waitForOutput: Boolean = false): Unit = frame(out, "clear", bytes(waitForOutput.toString))
  }

  /** Makes the classes of jars known, each a file or a folder of them. */
  def jars(paths: String*): Unit = {
    val files = paths.map(new java.io.File(_)).flatMap { path =>
      if (path.isDirectory) path.listFiles.toSeq.filter(_.getName.endsWith(".jar")).sortBy(_.getName)
      else if (path.isFile) Seq(path)
      else throw new java.io.FileNotFoundException(path.toString)
    }
    interpreter.addUrlsToClassPath(files.map(_.toURI.toURL): _*)
  }

  /** The same of those that the kernel knows of when it starts; others aren't files of this machine. */
  def addJars(paths: java.util.List[String]): Unit =
    jars(scala.jdk.javaapi.CollectionConverters.asScala(paths).toSeq.filter(new java.io.File(_).isFile): _*)

  /** Returns where completion begins, and what completes the code there. */
  def complete(code: String, cursor: Int): Array[String] = {
    import scala.tools.nsc.interpreter.shell.{Accumulator, ReplCompletion}
    val found = new ReplCompletion(interpreter, new Accumulator).complete(code, cursor)
    (found.cursor.toString +: found.candidates.map(_.name).distinct).toArray
  }

  private def running: Seq[Thread] = {
    val threads = scala.jdk.javaapi.CollectionConverters.asScala(Thread.getAllStackTraces).toSeq
    threads.collect {
      case (thread, frames) if thread != Thread.currentThread &&
        frames.exists(frame => frame.getClassName.startsWith("scala.tools.nsc.interpreter.IMain")) => thread
    }
  }

  /** Interrupts what the interpreter runs: first as Java does it, which a loop that only computes doesn't heed. */
  def interrupt(): Unit = running.foreach(_.interrupt())

  /** Ends the programs that cells wait for. */
  def endChildren(): Unit = ProcessHandle.current.descendants.forEach(child => { child.destroy(); () })

  /** Ends what the interpreter runs whatever it does. */
  @annotation.nowarn def stop(): Unit = running.foreach(_.stop())
}

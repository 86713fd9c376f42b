(function () {
  function storage() {
    var kept = new Map();
    var methods = {
      getItem: function (name) { return kept.has(String(name)) ? kept.get(String(name)) : null; },
      setItem: function (name, value) { kept.set(String(name), String(value)); },
      removeItem: function (name) { kept.delete(String(name)); },
      key: function (index) { return Array.from(kept.keys())[index] || null; },
      clear: function () { kept.clear(); }
    };
    return new Proxy({}, {
      get: function (_, name) { return name === "length" ? kept.size : name in methods ? methods[name] : kept.get(name); },
      set: function (_, name, value) { methods.setItem(name, value); return true; },
      has: function (_, name) { return name in methods || kept.has(name); },
      deleteProperty: function (_, name) { kept.delete(name); return true; },
      ownKeys: function () { return Array.from(kept.keys()); },
      getOwnPropertyDescriptor: function (_, name) {
        return kept.has(name) ? { configurable: true, enumerable: true, writable: true, value: kept.get(name) } : undefined;
      }
    });
  }
  function stand(where, name, property) {
    try { where[name]; } catch (_) { Object.defineProperty(where, name, property); }
  }
  // A worker's program must be of the page's own origin, which nothing that was loaded is; what the page makes itself is.
  function workers(kind) {
    return new Proxy(kind, {
      construct: function (target, given) {
        try { return Reflect.construct(target, given); } catch (error) {
          if (error.name !== "SecurityError") { throw error; }
          var address = JSON.stringify(new URL(given[0], document.baseURI).href);
          var program = given[1] && given[1].type === "module" ? "import " + address + ";" : "importScripts(" + address + ");";
          var own = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
          return Reflect.construct(target, [own].concat(given.slice(1)));
        }
      }
    });
  }
  if (window.Worker) { window.Worker = workers(window.Worker); }
  stand(window, "localStorage", { value: storage() });
  stand(window, "sessionStorage", { value: storage() });
  stand(document, "cookie", { get: function () { return ""; }, set: function () {} });
})();

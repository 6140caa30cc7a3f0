// A script of another origin, included without CORS. Chromium and WebKit report its errors as "Script error.".
throw new Error("No map of this region");
